#include "catalog/catalog.hpp"

#include "base/random_id.hpp"
#include "blob/object_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <thread>

namespace hearth::catalog {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

/// Counts what is fetched, to show that refreshing is cheap.
class CountingStore final : public blob::ObjectStore {
 public:
  explicit CountingStore(std::shared_ptr<blob::ObjectStore> inner) : inner_(std::move(inner)) {}
  Result<std::string> get(std::string_view key) override {
    ++gets;
    return inner_->get(key);
  }
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override {
    return inner_->get_range(key, offset, length);
  }
  Result<blob::Created> create(std::string_view key, std::string_view bytes) override {
    return inner_->create(key, bytes);
  }
  Result<blob::Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
    return inner_->create_from_file(key, path);
  }
  Result<std::optional<uint64_t>> size(std::string_view key) override { return inner_->size(key); }
  Result<std::vector<std::string>> list(std::string_view prefix) override {
    if (unreachable) return fail(ErrorCode::unavailable, "the store is away");
    return inner_->list(prefix);
  }
  Result<> remove(std::string_view key) override { return inner_->remove(key); }

  int gets = 0;
  bool unreachable = false;

 private:
  std::shared_ptr<blob::ObjectStore> inner_;
};

class CatalogTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("hearth-catalog-" + random_id());
    store_ = std::make_shared<CountingStore>(*blob::open_store(directory_.string(), blob::IfMissing::create));
    catalog_ = std::make_unique<Catalog>(store_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  /// The next version of the branch; 0 when it failed.
  static uint32_t deploy(Catalog& catalog, const BranchRef& branch) {
    NewVersion version{branch, {}, {}};
    version.config.name = branch.model;
    version.config.handler = "model:predict";
    auto record = catalog.create_version(version);
    EXPECT_TRUE(record) << record.error().message;
    return record ? record->version : 0;
  }
  uint32_t deploy(const BranchRef& branch) { return deploy(*catalog_, branch); }

  /// Runs the work in `count` processes at once; each opens the store anew.
  void in_processes(int count, const std::function<void(Catalog&, int)>& work) {
    std::vector<pid_t> children;
    for (int i = 0; i < count; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        Catalog catalog(*blob::open_store(directory_.string()));
        work(catalog, i);
        ::_exit(testing::Test::HasFailure() ? 1 : 0);
      }
      children.push_back(pid);
    }
    for (pid_t pid : children) {
      int status = 0;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0);
    }
  }

  const BranchRef main_{"default", "digits", "main"};
  std::filesystem::path directory_;
  std::shared_ptr<CountingStore> store_;
  std::unique_ptr<Catalog> catalog_;
};

std::vector<uint32_t> numbers(const BranchState& state) {
  std::vector<uint32_t> out;
  for (const auto& [number, record] : state.versions) out.push_back(number);
  return out;
}

TEST_F(CatalogTest, AVersionComesBackAsItWasCreated) {
  NewVersion version{main_, {}, {}};
  version.config.name = "digits";
  version.config.handler = "model:predict";
  version.config.artifacts = {{"w.bin", "files/w.bin"}};
  version.image.layers = {{Digest::of("base"), 10, LayerRole::base}, {Digest::of("code"), 20, LayerRole::code}};
  version.image.artifacts = {{{Digest::of("w"), 30, LayerRole::artifact}, "w.bin", "/model/w.bin"}};
  version.image.env = {{"A", "1"}};
  auto created = catalog_->create_version(version);
  ASSERT_TRUE(created) << created.error().message;
  auto read = catalog_->version(main_, 1);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->version, 1u);
  EXPECT_EQ(read->branch, main_);
  EXPECT_EQ(read->config, version.config);
  EXPECT_EQ(read->image, version.image);
  EXPECT_EQ(to_iso8601(read->created), to_iso8601(created->created));
}

TEST_F(CatalogTest, NumbersCountUpPerBranch) {
  const BranchRef staging{"default", "digits", "team/staging"};
  EXPECT_EQ(deploy(main_), 1u);
  EXPECT_EQ(deploy(main_), 2u);
  EXPECT_EQ(deploy(staging), 1u);
  EXPECT_EQ(deploy(main_), 3u);
  auto all = catalog_->branches("default");
  ASSERT_TRUE(all);
  EXPECT_THAT(*all, SizeIs(2));
  EXPECT_THAT(numbers(all->at(main_)), ElementsAre(1, 2, 3));
  EXPECT_THAT(numbers(all->at(staging)), ElementsAre(1));
}

TEST_F(CatalogTest, ARemovedVersionsNumberIsNeverUsedAgain) {
  deploy(main_);
  deploy(main_);
  ASSERT_TRUE(catalog_->remove_version(main_, 2));
  EXPECT_EQ(catalog_->version(main_, 2).error().code, ErrorCode::not_found);
  EXPECT_THAT(catalog_->resolve(main_, "2").error().message, HasSubstr("was removed"));
  EXPECT_EQ(catalog_->resolve(main_, "latest")->record->version, 1u);
  EXPECT_EQ(deploy(main_), 3u);
  ASSERT_TRUE(catalog_->remove_model("default", "digits"));
  EXPECT_EQ(catalog_->branch(main_).error().code, ErrorCode::not_found);
  EXPECT_EQ(deploy(main_), 4u);
}

TEST_F(CatalogTest, AnAliasPointsAtAnExistingVersionAndGuardsIt) {
  deploy(main_);
  deploy(main_);
  EXPECT_EQ(catalog_->set_alias(main_, "prod", 7).error().code, ErrorCode::not_found);
  ASSERT_TRUE(catalog_->set_alias(main_, "prod", 1));
  auto found = catalog_->resolve(main_, "prod");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->record->version, 1u);
  EXPECT_EQ(found->alias, "prod");
  EXPECT_THAT(catalog_->remove_version(main_, 1).error().message, HasSubstr("alias prod"));
  ASSERT_TRUE(catalog_->set_alias(main_, "prod", 2));
  ASSERT_TRUE(catalog_->remove_version(main_, 1));
  ASSERT_TRUE(catalog_->remove_alias(main_, "prod"));
  EXPECT_EQ(catalog_->remove_alias(main_, "prod").error().code, ErrorCode::not_found);
  EXPECT_THAT(catalog_->resolve(main_, "prod").error().message, HasSubstr("there are: 2"));
}

TEST_F(CatalogTest, ConcurrentDeploysOfThreadsAndProcessesNeverLoseOne) {
  in_processes(4, [this](Catalog& catalog, int) {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([this, &catalog] {
        for (int i = 0; i < 5; ++i) deploy(catalog, main_);
      });
    }
  });
  auto state = catalog_->branch(main_);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_THAT(state->versions, SizeIs(4 * 4 * 5));
  EXPECT_EQ(state->latest(), 4u * 4 * 5);
}

TEST_F(CatalogTest, ConcurrentAliasMovesNeverLoseOne) {
  deploy(main_);
  in_processes(4, [this](Catalog& catalog, int process) {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([this, &catalog, process, t] {
        for (int i = 0; i < 4; ++i) {
          const std::string alias = "a-" + std::to_string(process) + "-" + std::to_string(t) + "-" + std::to_string(i);
          auto set = catalog.set_alias(main_, alias, 1);
          EXPECT_TRUE(set) << set.error().message;
        }
        const std::string gone = "a-" + std::to_string(process) + "-" + std::to_string(t) + "-0";
        EXPECT_TRUE(catalog.remove_alias(main_, gone));
      });
    }
  });
  auto state = catalog_->branch(main_);
  ASSERT_TRUE(state);
  EXPECT_THAT(state->aliases, SizeIs(4 * 3 * 3));
}

TEST_F(CatalogTest, AKeyIsShownOnceAndStoredOnlyAsItsHash) {
  auto key = catalog_->create_key("default", "laptop");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_THAT(key->secret, testing::MatchesRegex("hk_[A-Za-z0-9_-]{43}"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_)) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr(key->secret)));
  }
  auto keys = store_->list("keys/");
  ASSERT_TRUE(keys);
  ASSERT_THAT(*keys, SizeIs(1));
  EXPECT_EQ(keys->front(), "keys/" + Digest::of(key->secret).hex() + ".json");
  EXPECT_THAT(*store_->get(keys->front()), testing::Not(HasSubstr(key->secret)));
}

TEST_F(CatalogTest, KeysAreListedAndRevokedWithinTheirWorkspace) {
  auto first = catalog_->create_key("default", "first");
  auto other = catalog_->create_key("other", "theirs");
  ASSERT_TRUE(first && other);
  auto keys = catalog_->list_keys("default");
  ASSERT_TRUE(keys);
  ASSERT_THAT(*keys, SizeIs(1));
  EXPECT_EQ(keys->front().name, "first");
  EXPECT_EQ(catalog_->revoke_key("default", other->key.id).error().code, ErrorCode::not_found);
  ASSERT_TRUE(catalog_->revoke_key("default", first->key.id));
  EXPECT_THAT(*catalog_->list_keys("default"), SizeIs(0));
}

TEST_F(CatalogTest, AnImageNameIsTheWorkspacesBeforeTheSharedOne) {
  ImageRecord record{
      .name = "python", .layer = {Digest::of("x"), 5, LayerRole::base}, .source = "recipe", .details = "{}"};
  EXPECT_EQ(catalog_->find_image("default", "python").error().code, ErrorCode::not_found);
  ASSERT_TRUE(catalog_->set_image({ImageScope::shared, "", "python"}, record));
  record.source = "docker://python";
  ASSERT_TRUE(catalog_->set_image({ImageScope::workspace, "default", "python"}, record));
  record.source = "docker://python:3.12";
  ASSERT_TRUE(catalog_->set_image({ImageScope::workspace, "default", "python"}, record));
  EXPECT_EQ(catalog_->find_image("default", "python")->source, "docker://python:3.12");
  EXPECT_EQ(catalog_->find_image("other", "python")->source, "recipe");
  EXPECT_THAT(*catalog_->list_images("default"), SizeIs(1));
}

TEST_F(CatalogTest, ASnapshotAnswersWithoutTheStore) {
  deploy(main_);
  deploy(main_);
  ASSERT_TRUE(catalog_->set_alias(main_, "prod", 1));
  auto key = catalog_->create_key("default", "laptop");
  auto snapshot = *catalog_->refresh(nullptr);
  std::filesystem::remove_all(directory_);

  EXPECT_EQ(snapshot->find_key(key_digest(key->secret))->id, key->key.id);
  EXPECT_EQ(snapshot->find_key(Digest::of("hk_wrong")), nullptr);
  EXPECT_EQ(snapshot->resolve(main_, "latest")->record->version, 2u);
  EXPECT_EQ(snapshot->resolve(main_, "prod")->record->version, 1u);
  EXPECT_THAT(snapshot->resolve({"default", "digits", "dev"}, "1").error().message,
              HasSubstr("has no branch dev; there are: main"));
  EXPECT_THAT(snapshot->resolve({"default", "gone", "main"}, "1").error().message, HasSubstr("no model named gone"));
}

TEST_F(CatalogTest, RefreshingFetchesOnlyWhatIsNew) {
  for (int i = 0; i < 5; ++i) deploy(main_);
  ASSERT_TRUE(catalog_->set_alias(main_, "prod", 1));
  auto key = catalog_->create_key("default", "laptop");
  auto snapshot = *catalog_->refresh(nullptr);
  store_->gets = 0;
  snapshot = *catalog_->refresh(snapshot);
  EXPECT_EQ(store_->gets, 0);
  deploy(main_);
  ASSERT_TRUE(catalog_->revoke_key("default", key->key.id));
  store_->gets = 0;
  snapshot = *catalog_->refresh(snapshot);
  EXPECT_EQ(store_->gets, 1);
  EXPECT_EQ(snapshot->resolve(main_, "latest")->record->version, 6u);
  EXPECT_EQ(snapshot->find_key(key_digest(key->secret)), nullptr);
}

TEST_F(CatalogTest, ABrokenRecordDoesNotTakeTheOthersWithIt) {
  deploy(main_);
  deploy(main_);
  ASSERT_TRUE(store_->create("ws/default/models/digits/main/versions/3.json", "{broken"));
  ASSERT_TRUE(store_->create("ws/default/models/digits/main/versions/4.json", "{\"format\":2}"));
  auto snapshot = catalog_->refresh(nullptr);
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  EXPECT_EQ((*snapshot)->resolve(main_, "latest")->record->version, 2u);
  EXPECT_THAT(catalog_->version(main_, 4).error().message, HasSubstr("upgrade"));
  EXPECT_EQ(deploy(main_), 5u);
}

TEST_F(CatalogTest, AnUnreachableStoreIsAnErrorAndNotAnEmptyCatalog) {
  deploy(main_);
  store_->unreachable = true;
  EXPECT_EQ(catalog_->refresh(nullptr).error().code, ErrorCode::unavailable);
}

TEST(ApiKey, TheHeaderMayHoldTheKeyAloneOrAsBearer) {
  EXPECT_EQ(key_from_authorization("hk_x"), "hk_x");
  EXPECT_EQ(key_from_authorization("Bearer hk_x"), "hk_x");
  EXPECT_EQ(key_from_authorization("  bearer   hk_x "), "hk_x");
  EXPECT_EQ(key_from_authorization(""), "");
}

}  // namespace
}  // namespace hearth::catalog
