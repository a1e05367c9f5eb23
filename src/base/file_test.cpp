#include "base/file.hpp"

#include "base/random_id.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(make_directories(dir_)); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::filesystem::path dir_ = std::filesystem::temp_directory_path() / ("hearth-file-" + random_id());
};

TEST_F(FileTest, AnAtomicWriteReplacesTheWholeContentAndLeavesNothingBeside) {
  ASSERT_TRUE(write_file_atomic(dir_ / "a", "first, and longer"));
  ASSERT_TRUE(write_file_atomic(dir_ / "a", "second"));
  EXPECT_EQ(read_file(dir_ / "a").value(), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1);
}

TEST_F(FileTest, AFailedWriteNamesThePath) {
  const auto result = write_file_atomic(dir_ / "missing" / "a", "x");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_NE(result.error().message.find("missing"), std::string::npos);
}

TEST_F(FileTest, ReadRefusesMoreThanTheLimit) {
  ASSERT_TRUE(write_file_atomic(dir_ / "a", std::string(100, 'x')));
  EXPECT_EQ(read_file(dir_ / "a", 99).error().code, ErrorCode::exhausted);
}

}  // namespace
}  // namespace hearth
