#include "control/upload_session.hpp"

#include "base/random_id.hpp"
#include "blob/directory_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

namespace hearth::control {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

class UploadSessionsTest : public testing::Test {
 protected:
  ~UploadSessionsTest() override { fs::remove_all(folder_); }

  bool stands(const std::string& id) const { return !store_->list("ws/default/intents/" + id + "/")->empty(); }

  const fs::path folder_ = fs::temp_directory_path() / ("upload-sessions-" + random_id());
  std::shared_ptr<blob::ObjectStore> store_ = blob::DirectoryStore::open(folder_, blob::IfMissing::create).value();
};

TEST_F(UploadSessionsTest, TheSessionOfAClientThatIsGoneLeavesTheStoreByItself) {
  UploadSessions sessions(milliseconds(50));
  const std::string id = *sessions.begin(store_, "default");
  EXPECT_TRUE(stands(id));
  while (stands(id)) std::this_thread::sleep_for(milliseconds(5));
  const auto found = sessions.find(id, "default");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::not_found);
}

TEST_F(UploadSessionsTest, ASessionThatIsInUseStands) {
  UploadSessions sessions(milliseconds(50));
  const std::string held = *sessions.begin(store_, "default");
  const auto build = sessions.find(held, "default");
  ASSERT_TRUE(build);
  const std::string idle = *sessions.begin(store_, "default");
  while (stands(idle)) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(stands(held)) << "it began earlier, and nobody asked for it since";
  EXPECT_TRUE(sessions.find(held, "default"));
}

TEST_F(UploadSessionsTest, SessionsEndWithTheirProcess) {
  std::string id;
  {
    UploadSessions sessions;
    id = *sessions.begin(store_, "default");
    EXPECT_TRUE(stands(id));
  }
  EXPECT_FALSE(stands(id));
}

}  // namespace
}  // namespace hearth::control
