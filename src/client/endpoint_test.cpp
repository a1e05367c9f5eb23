#include "client/endpoint.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cstdlib>

namespace hearth::client {
namespace {

class EndpointTest : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("XDG_CONFIG_HOME", dir_.c_str(), 1);
    ::unsetenv("HEARTH_URL");
    ::unsetenv("HEARTH_API_KEY");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::filesystem::path dir_ = std::filesystem::temp_directory_path() / ("hearth-context-" + random_id());
};

TEST_F(EndpointTest, WithoutAnythingSaysHowToStart) {
  const auto endpoint = resolve_endpoint({}, {});
  ASSERT_FALSE(endpoint);
  EXPECT_NE(endpoint.error().message.find("hearth up"), std::string::npos);
}

TEST_F(EndpointTest, TheContextIsWrittenForItsOwnerAloneAndReadBack) {
  ASSERT_TRUE(write_context(user_context_path(), {"http://127.0.0.1:1", "hk_x", "/data"}));
  struct stat info{};
  ASSERT_EQ(::stat(user_context_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  const auto endpoint = resolve_endpoint({}, {}).value();
  EXPECT_EQ(endpoint.url, "http://127.0.0.1:1");
  EXPECT_EQ(endpoint.key, "hk_x");
}

TEST_F(EndpointTest, FlagsWinOverTheEnvironmentWhichWinsOverTheContext) {
  ASSERT_TRUE(write_context(user_context_path(), {"http://context", "hk_context", ""}));
  ::setenv("HEARTH_URL", "http://environment/", 1);
  ::setenv("HEARTH_API_KEY", "hk_environment", 1);
  EXPECT_EQ(resolve_endpoint({}, {}).value().url, "http://environment");
  EXPECT_EQ(resolve_endpoint({}, {}).value().key, "hk_environment");
  EXPECT_EQ(resolve_endpoint("http://flag", "hk_flag").value().url, "http://flag");
  EXPECT_EQ(resolve_endpoint("http://flag", "hk_flag").value().key, "hk_flag");
}

TEST_F(EndpointTest, AKeyOfTheContextIsNeverSentToAnotherServer) {
  ASSERT_TRUE(write_context(user_context_path(), {"http://context", "hk_context", ""}));
  EXPECT_EQ(resolve_endpoint("http://other", {}).error().code, ErrorCode::denied);
}

TEST_F(EndpointTest, ABrokenContextIsNamed) {
  ASSERT_TRUE(make_directories(user_context_path().parent_path()));
  ASSERT_TRUE(write_file_atomic(user_context_path(), "[]"));
  EXPECT_EQ(resolve_endpoint({}, {}).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hearth::client
