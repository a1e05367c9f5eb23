#include "router/caller.hpp"

#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "catalog/catalog.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace hearth::router {
namespace {

/// A catalog with a key of "default" and one of "team".
class CallerTest : public testing::Test {
 protected:
  CallerTest() : folder_(std::filesystem::temp_directory_path() / ("hearth-caller-" + random_id())) {
    catalog::Catalog catalog(*blob::open_store(folder_.string(), blob::IfMissing::create));
    key_ = catalog.create_key("default", "k")->secret;
    team_key_ = catalog.create_key("team", "k")->secret;
    snapshot_ = *catalog.refresh(nullptr);
  }
  ~CallerTest() override { std::filesystem::remove_all(folder_); }

  Entry entry(const std::vector<std::pair<std::string, std::string>>& headers) {
    net::HttpRequest request;
    for (const auto& [name, value] : headers) request.headers.add(name, value);
    return admit_caller(request, *snapshot_).entry;
  }

  std::filesystem::path folder_;
  std::string key_;
  std::string team_key_;
  std::shared_ptr<const catalog::Snapshot> snapshot_;
};

TEST_F(CallerTest, TakesTheKeyRawOrAsBearer) {
  EXPECT_EQ(entry({{"Authorization", key_}}), Entry::granted);
  EXPECT_EQ(entry({{"authorization", "Bearer " + key_}}), Entry::granted);
  EXPECT_EQ(entry({{"Authorization", "bearer  " + key_ + " "}}), Entry::granted);
}

TEST_F(CallerTest, TellsMissingFromUnknown) {
  EXPECT_EQ(entry({}), Entry::no_key);
  EXPECT_EQ(entry({{"Authorization", " "}}), Entry::no_key);
  EXPECT_EQ(entry({{"Authorization", key_ + "x"}}), Entry::unknown_key);
}

TEST_F(CallerTest, RefusesAnotherWorkspaceByHeaderOrHostName) {
  EXPECT_EQ(entry({{"Authorization", key_}, {"X-Hearth-Workspace", "default"}}), Entry::granted);
  EXPECT_EQ(entry({{"Authorization", key_}, {"X-Hearth-Workspace", "team"}}), Entry::other_workspace);
  EXPECT_EQ(entry({{"Authorization", key_}, {"X-Hearth-Workspace", "nobody"}}), Entry::other_workspace);
  EXPECT_EQ(entry({{"Authorization", key_}, {"Host", "team.models.example:8080"}}), Entry::other_workspace);
  EXPECT_EQ(entry({{"Authorization", team_key_}, {"Host", "team.models.example:8080"}}), Entry::granted);
}

TEST_F(CallerTest, AHostNameThatIsNoWorkspaceSaysNothing) {
  for (const char* host :
       {"localhost:8080", "127.0.0.1:8080", "models.example", "www.models.example", ".x", "[::1]:80"}) {
    EXPECT_EQ(entry({{"Authorization", key_}, {"Host", host}}), Entry::granted) << host;
  }
}

}  // namespace
}  // namespace hearth::router
