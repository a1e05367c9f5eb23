// What every object store promises, whatever it is.
#include "base/digest.hpp"
#include "blob/testing/store_under_test.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace hearth::blob {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using StoreConformance = StoreUnderTest;

constexpr size_t kMiB = size_t{1} << 20;

std::filesystem::path write_source(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST_F(StoreConformance, GivesBackWhatWasCreated) {
  const std::string bytes("zero \0 byte \xff\r\n", 15);
  EXPECT_EQ(store_->create("ws/default/x", bytes).value(), Created::yes);
  EXPECT_EQ(store_->get("ws/default/x").value(), bytes);
  EXPECT_EQ(store_->size("ws/default/x").value(), bytes.size());
  EXPECT_EQ(open()->get("ws/default/x").value(), bytes) << "another client";
}

TEST_F(StoreConformance, KeepsAnEmptyObject) {
  EXPECT_EQ(store_->create("empty", "").value(), Created::yes);
  EXPECT_EQ(store_->get("empty").value(), "");
  EXPECT_EQ(store_->size("empty").value(), 0u);
  EXPECT_EQ(store_->get_range("empty", 0, 0).value(), "");
  EXPECT_EQ(streamed(*store_, "empty", {}).value(), "");
  EXPECT_EQ(store_->create("empty", "x").value(), Created::no);
}

TEST_F(StoreConformance, TakesKeysOfAnyCharacters) {
  for (const std::string key : {"a b", "a+b", "a=b&c", "a%41", "a:b@c", "~a'(b)*!", "a,b;c$", "\xC3\xBC/\xE2\x82\xAC",
                                "a?b#c", "..a/b..", "A", "-"}) {
    EXPECT_EQ(store_->create(key, key).value(), Created::yes) << key;
    EXPECT_EQ(store_->get(key).value(), key);
    EXPECT_THAT(store_->list(key).value(), ElementsAre(key));
    EXPECT_TRUE(store_->remove(key)) << key;
    EXPECT_EQ(store_->size(key).value(), std::nullopt) << key;
  }
}

TEST_F(StoreConformance, NeverChangesAnObject) {
  EXPECT_EQ(store_->create("k", "first").value(), Created::yes);
  EXPECT_EQ(store_->create("k", "second").value(), Created::no);
  EXPECT_EQ(open()->create("k", "third").value(), Created::no);
  EXPECT_EQ(store_->get("k").value(), "first");
}

TEST_F(StoreConformance, CreatesFromAFile) {
  const std::string content = pattern(3'000'000);
  const auto source = write_source(scratch_ / "source", content);
  EXPECT_EQ(store_->create_from_file("packs/p", source).value(), Created::yes);
  EXPECT_EQ(store_->create_from_file("packs/p", source).value(), Created::no);
  EXPECT_TRUE(store_->get("packs/p").value() == content);
  EXPECT_EQ(store_->create_from_file("packs/q", scratch_ / "absent").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->size("packs/q").value(), std::nullopt);
}

TEST_F(StoreConformance, TakesFilesTooLargeForOneRequest) {
  const std::string content = pattern(49 * kMiB + 12'345);
  const auto source = write_source(scratch_ / "source", content);
  ASSERT_EQ(store_->create_from_file("big/one", source).value(), Created::yes);
  EXPECT_EQ(store_->size("big/one").value(), content.size());
  EXPECT_EQ(Digest::of(streamed(*store_, "big/one", {}).value()), Digest::of(content));
  EXPECT_EQ(store_->get_range("big/one", 16 * kMiB - 5, 10).value(), content.substr(16 * kMiB - 5, 10));
  const auto other = write_source(scratch_ / "other", pattern(40 * kMiB, 7));
  EXPECT_EQ(store_->create_from_file("big/one", other).value(), Created::no);
  EXPECT_EQ(store_->get_range("big/one", 0, 10).value(), content.substr(0, 10));
}

TEST_F(StoreConformance, TakesLargeObjectsFromMemory) {
  const std::string content = pattern(33 * kMiB);
  ASSERT_EQ(store_->create("big/two", content).value(), Created::yes);
  EXPECT_EQ(Digest::of(store_->get("big/two").value()), Digest::of(content));
}

TEST_F(StoreConformance, AnswersNotFoundForWhatIsNotThere) {
  EXPECT_EQ(store_->get("a/b").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->get_range("a/b", 0, 1).error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->get_range("a/b", 0, 0).error().code, ErrorCode::not_found);
  EXPECT_EQ(streamed(*store_, "a/b", {}).error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->size("a/b").value(), std::nullopt);
  EXPECT_TRUE(store_->remove("a/b"));
  ASSERT_TRUE(store_->create("d/e", "x"));
  EXPECT_EQ(store_->get("d").error().code, ErrorCode::not_found) << "the beginning of a key is no object";
  EXPECT_EQ(store_->size("d").value(), std::nullopt);
}

TEST_F(StoreConformance, ReadsExactlyTheRange) {
  const std::string content = pattern(2'500'000);
  ASSERT_TRUE(store_->create("k", content));
  EXPECT_EQ(store_->get_range("k", 0, 1).value(), content.substr(0, 1));
  EXPECT_TRUE(store_->get_range("k", 1'234'567, 1'000'000).value() == content.substr(1'234'567, 1'000'000));
  EXPECT_EQ(store_->get_range("k", 2'499'999, 1).value(), content.substr(2'499'999));
  EXPECT_TRUE(store_->get_range("k", 0, content.size()).value() == content);
  EXPECT_EQ(store_->get_range("k", content.size(), 0).value(), "");
  EXPECT_TRUE(streamed(*store_, "k", {.offset = 2'000'000}).value() == content.substr(2'000'000));
  EXPECT_EQ(streamed(*store_, "k", {.offset = content.size()}).value(), "");
  EXPECT_EQ(streamed(*store_, "k", {.offset = 5, .length = 0}).value(), "");
}

TEST_F(StoreConformance, RefusesARangeBeyondTheEnd) {
  ASSERT_TRUE(store_->create("k", "12345"));
  EXPECT_EQ(store_->get_range("k", 3, 3).error().code, ErrorCode::corrupt);
  EXPECT_EQ(store_->get_range("k", 5, 1).error().code, ErrorCode::corrupt);
  EXPECT_EQ(store_->get_range("k", 6, 0).error().code, ErrorCode::corrupt);
  EXPECT_EQ(store_->get_range("k", 0, ~uint64_t{0}).error().code, ErrorCode::corrupt);
  EXPECT_EQ(store_->get_range("k", ~uint64_t{0} - 1, 5).error().code, ErrorCode::corrupt);
  EXPECT_EQ(streamed(*store_, "k", {.offset = 6}).error().code, ErrorCode::corrupt);
  EXPECT_EQ(streamed(*store_, "k", {.offset = 1, .length = 9}).error().code, ErrorCode::corrupt);
}

TEST_F(StoreConformance, AReadEndsWithTheErrorOfItsSink) {
  ASSERT_TRUE(store_->create("k", pattern(3'000'000)));
  int calls = 0;
  const auto read =
      store_->read("k", {},
                   [&calls](std::string_view) -> Result<> {
                     return ++calls == 2 ? Result<>(fail(ErrorCode::exhausted, "the disk is full")) : Result<>{};
                   },
                   {});
  EXPECT_EQ(read.error().message, "the disk is full");
  EXPECT_EQ(calls, 2);
}

TEST_F(StoreConformance, AReadEndsWhenItsCallerGivesUp) {
  ASSERT_TRUE(store_->create("k", pattern(3'000'000)));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(streamed(*store_, "k", {}, {.stop = stop.get_token()}).error().code, ErrorCode::cancelled);
  EXPECT_EQ(streamed(*store_, "k", {}, {.deadline = Deadline(MonoTime::min())}).error().code,
            ErrorCode::deadline_exceeded);
}

TEST_F(StoreConformance, ListsByPrefixSorted) {
  for (const char* key : {"a/2", "a/10", "a/b/c", "ab", "b/1", "a.d"}) ASSERT_TRUE(store_->create(key, "x"));
  EXPECT_THAT(store_->list("").value(), ElementsAre("a.d", "a/10", "a/2", "a/b/c", "ab", "b/1"));
  EXPECT_THAT(store_->list("a").value(), ElementsAre("a.d", "a/10", "a/2", "a/b/c", "ab"));
  EXPECT_THAT(store_->list("a/").value(), ElementsAre("a/10", "a/2", "a/b/c"));
  EXPECT_THAT(store_->list("a/b").value(), ElementsAre("a/b/c"));
  EXPECT_THAT(store_->list("none/").value(), IsEmpty());
  EXPECT_THAT(store_->list("ab/").value(), IsEmpty());
  ASSERT_TRUE(store_->remove("a/10"));
  EXPECT_THAT(store_->list("a/1").value(), IsEmpty());
}

TEST_F(StoreConformance, ListsSizesAndFolders) {
  for (const char* key : {"ws/a/x", "ws/a/y/z", "ws/b.c/x", "ws/top", "other/x"}) {
    ASSERT_TRUE(store_->create(key, std::string(key).substr(2)));
  }
  EXPECT_THAT(store_->list_objects("ws/a").value(), ElementsAre(ObjectInfo{"ws/a/x", 4}, ObjectInfo{"ws/a/y/z", 6}));
  EXPECT_THAT(store_->folders("ws/").value(), ElementsAre("a", "b.c"));
  EXPECT_THAT(store_->folders("").value(), ElementsAre("other", "ws"));
  EXPECT_THAT(store_->folders("none/").value(), IsEmpty());
}

TEST_F(StoreConformance, ListsMoreThanOnePage) {
  constexpr int kObjects = 1'030;  // S3's pages have 1,000
  {
    std::atomic<int> next{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([this, &next] {
        for (int i = next++; i < kObjects; i = next++) EXPECT_TRUE(store_->create("many/" + std::to_string(i), "x"));
      });
    }
  }
  const auto keys = store_->list("many/").value();
  EXPECT_EQ(keys.size(), size_t{kObjects});
  EXPECT_TRUE(std::ranges::is_sorted(keys));
}

TEST_F(StoreConformance, WhatWasRemovedCanBeCreatedAgain) {
  ASSERT_EQ(store_->create("k", "one").value(), Created::yes);
  ASSERT_TRUE(store_->remove("k"));
  EXPECT_EQ(store_->get("k").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->create("k", "two").value(), Created::yes);
  EXPECT_EQ(store_->get("k").value(), "two");
}

TEST_F(StoreConformance, RefusesKeysThatAreNone) {
  for (const std::string key : {"", "/x", "..", "a/../b", "a//b", "a/", "./a", ".tmp-x"}) {
    EXPECT_EQ(store_->create(key, "x").error().code, ErrorCode::invalid_argument) << key;
    EXPECT_EQ(store_->get(key).error().code, ErrorCode::invalid_argument) << key;
    EXPECT_EQ(store_->size(key).error().code, ErrorCode::invalid_argument) << key;
    EXPECT_EQ(store_->remove(key).error().code, ErrorCode::invalid_argument) << key;
  }
  EXPECT_EQ(store_->list("../").error().code, ErrorCode::invalid_argument);
}

TEST_F(StoreConformance, AMissingStoreIsUnavailableAndSaysSo) {
  std::string missing = (scratch_ / "missing").string();
  if (is_remote()) {
    missing = conformance_url();
    missing.replace(5, missing.find_first_of("?/", 5) - 5, "no-such-bucket-anywhere");
  } else {
    EXPECT_EQ(open_store(missing).error().code, ErrorCode::unavailable);
    std::filesystem::create_directory(missing);
  }
  const auto store = open_store(missing).value();
  std::filesystem::remove_all(missing);
  const auto check = [](const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::unavailable) << error.message;
    EXPECT_THAT(error.message, ::testing::AnyOf(HasSubstr("does not exist"), HasSubstr("is gone"))) << error.message;
  };
  check(store->get("k").error());
  check(store->size("k").error());
  check(store->list("").error());
  check(store->create("k", "x").error());
  check(store->remove("k").error());
}

}  // namespace
}  // namespace hearth::blob
