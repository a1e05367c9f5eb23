// Packs through a mirror, as a layer's reader sees them.
#include "mount/store_tier.hpp"

#include "base/file.hpp"
#include "blob/pack_mirror.hpp"
#include "blob/signed_url.hpp"
#include "blob/testing/scripted_server.hpp"
#include "mount/testing/fetcher_fixture.hpp"

#include <gmock/gmock.h>

#include <string>

namespace hearth::mount {
namespace {

using blob::http_answer;
using blob::range_answer;
using blob::ScriptedServer;
using testing::mixed_files;
using testing::must;

constexpr const char* kSecret = "a secret of sixteen characters";

class StoreTierTest : public testing::FetcherFixture {
 protected:
  /// A layer in a store, with a mirror in front whose answers are a function of the request and of the object.
  using Mirror = std::function<std::string(const ScriptedServer::Request&, const std::string& object)>;
  void start_mirrored(Mirror mirror) {
    start(mixed_files());
    fetcher.reset();
    server_ = std::make_unique<ScriptedServer>([this, mirror = std::move(mirror)](const auto& request) {
      const auto object = layers.store()->get(request.path.substr(1, request.path.find('?') - 1));
      return object ? mirror(request, *object) : http_answer(404, "");
    });
    must(write_file_atomic(folder.path() / "secret", kSecret));
    auto source = must(blob::PackMirror::open({.url = server_->url(), .secret_file = folder.path() / "secret"},
                                              std::make_shared<blob::RangeReader>(store)));
    store_tier = std::make_unique<StoreTier>(std::move(source), StoreTier::Options{.has_mirror = true});
    open_fetcher({});
  }
  uint64_t reads(const std::string& tier) {
    return metrics.counter("hearth_imagefs_fetch_reads_total", "", {{"tier", tier}}).value();
  }

  std::unique_ptr<ScriptedServer> server_;
};

TEST_F(StoreTierTest, WhatAMirrorHasNeverTouchesTheStore) {
  start_mirrored([](const auto& request, const auto& object) { return range_answer(request, object); });
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store->read_count(), 0u);
  EXPECT_GT(reads("mirror"), 0u);
  EXPECT_EQ(reads("store"), 0u);
}

TEST_F(StoreTierTest, AMirrorIsAskedBySignedUrls) {
  start_mirrored([](const auto& request, const auto& object) { return range_answer(request, object); });
  must(fill(whole()));
  ASSERT_FALSE(server_->requests().empty());
  for (const auto& request : server_->requests()) {
    const size_t mark = request.path.find('?');
    ASSERT_NE(mark, std::string::npos) << request.path;
    const std::string query = request.path.substr(mark + 1);
    ASSERT_TRUE(query.starts_with("expires=")) << query;
    const int64_t expires = std::stoll(query.substr(query.find('=') + 1));
    EXPECT_EQ(query, blob::signed_url_query(kSecret, request.path.substr(0, mark), expires));
  }
}

TEST_F(StoreTierTest, WhenTheMirrorFailsTheStoreAnswers) {
  start_mirrored([](const auto&, const auto&) { return http_answer(500, "oops"); });
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(reads("mirror"), 0u);
  EXPECT_GT(reads("store"), 0u);
}

TEST_F(StoreTierTest, WrongBytesOfAMirrorAreCountedAsItsOwnAndReadFromTheStore) {
  start_mirrored([](const auto& request, std::string object) {
    for (size_t i = 0; i < object.size(); i += 1000) object[i] = static_cast<char>(object[i] ^ 1);
    return range_answer(request, object);
  });
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_GT(corrupt_count("mirror"), 0u);
  EXPECT_EQ(corrupt_count("store"), 0u);
  EXPECT_GT(reads("store"), 0u);
}

}  // namespace
}  // namespace hearth::mount
