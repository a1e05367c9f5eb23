#include "image/profile.hpp"

#include "base/random_id.hpp"
#include "blob/directory_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace hearth::image {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Profile sample() {
  const WallTime at = *from_iso8601("2026-11-28T10:00:00.123456Z");
  return {.layer = Digest::of("layer"),
          .key = "iris_main.predict-1",
          .generation = 7,
          .created = at,
          .starts = 12,
          .bundle = BundleRef{.digest = Digest::of("bundle"),
                              .bytes = 72'000'000,
                              .streamed_bytes = 71'900'000,
                              .plain_bytes = 317'000'000,
                              .runs = 30'000},
          .recent = {{.at = at, .asked_bytes = 5, .met = {.recall = 0.5, .precision = 0.25}},
                     {.at = at,
                      .asked_bytes = 9,
                      .met = {.recall = 0.97, .precision = 0.91},
                      .demand_waits = 3,
                      .waited_ms = 64}}};
}

TEST(Profile, ComesBackAsItWasWritten) {
  const Profile profile = parse_profile(to_json(sample())).value();
  EXPECT_EQ(to_json(profile), to_json(sample()));
  EXPECT_EQ(profile.bundle, sample().bundle);
  EXPECT_EQ(profile.recent[1].waited_ms, 64U);
  Profile none = sample();
  none.bundle.reset();
  EXPECT_FALSE(parse_profile(to_json(none)).value().bundle);
}

TEST(Profile, WhatIsWrongWithOneIsNamed) {
  const auto error_with = [](std::string_view good, std::string_view bad) {
    std::string json = to_json(sample());
    const size_t at = json.find(good);
    EXPECT_NE(at, std::string::npos) << good;
    json.replace(at, good.size(), bad);
    const auto parsed = parse_profile(json);
    return parsed ? std::string("accepted")
                  : std::string(to_string(parsed.error().code)) + ": " + parsed.error().message;
  };
  EXPECT_THAT(error_with(R"("format":1)", R"("format":2)"), HasSubstr("format 2 is not known"));
  EXPECT_THAT(error_with(R"("key":"iris)", R"("key":"../)"), HasSubstr("key is not a profile key"));
  EXPECT_THAT(error_with(R"("recall":0.97)", R"("recall":1.5)"), HasSubstr("recall is not between 0 and 1"));
  EXPECT_THAT(error_with(R"("recall":0.97)", R"("recall":"x")"), HasSubstr("recall is not a number"));
  EXPECT_THAT(error_with(R"("streamed_bytes":71900000)", R"("streamed_bytes":72000001)"), HasSubstr("more than bytes"));
  EXPECT_THAT(error_with(R"("recent":[)", R"("recent":[1,)"), HasSubstr("a start is not an object"));
  EXPECT_THAT(error_with(R"("starts":12)", R"("starts":[[[[[12]]]]])"), HasSubstr("nested too deeply"));
  EXPECT_EQ(parse_profile("").error().code, ErrorCode::corrupt);
  EXPECT_EQ(parse_profile(std::string(kMaxProfileBytes + 1, ' ')).error().code, ErrorCode::corrupt);
}

TEST(Profile, KeysAreNamesAndNothingElse) {
  for (const char* good : {"a", "iris_main.predict-1", "A.B_c-9", "..."}) EXPECT_TRUE(is_profile_key(good)) << good;
  for (const char* bad : {"", ".", "..", "a/b", "a b", "ä", "a\n"}) EXPECT_FALSE(is_profile_key(bad)) << bad;
  EXPECT_TRUE(is_profile_key(std::string(kMaxProfileKeyBytes, 'k')));
  EXPECT_FALSE(is_profile_key(std::string(kMaxProfileKeyBytes + 1, 'k')));
}

class ProfileStore : public ::testing::Test {
 protected:
  ~ProfileStore() override { fs::remove_all(folder_); }
  void put(const Profile& profile) {
    ASSERT_EQ(store_->create(profile_object_key(scope_, profile), to_json(profile)).value(), blob::Created::yes);
  }

  const fs::path folder_ = fs::temp_directory_path() / ("hearth-profile-" + random_id());
  const std::shared_ptr<blob::ObjectStore> store_ = blob::open_store(folder_.string(), blob::IfMissing::create).value();
  const StoreScope scope_ = StoreScope::workspace("acme");
  const Digest layer_ = sample().layer;
};

TEST_F(ProfileStore, TheHighestGenerationIsTheTruth) {
  EXPECT_FALSE(find_profile(*store_, scope_, layer_, sample().key).value());
  for (const uint64_t generation : {9U, 10U, 2U}) {
    Profile profile = sample();
    profile.generation = generation;
    put(profile);
  }
  EXPECT_EQ(find_profile(*store_, scope_, layer_, sample().key).value()->generation, 10U);
}

TEST_F(ProfileStore, AnotherWorkspaceLayerOrKeyHasNone) {
  put(sample());
  EXPECT_FALSE(find_profile(*store_, StoreScope::workspace("other"), layer_, sample().key).value());
  EXPECT_FALSE(find_profile(*store_, scope_, Digest::of("x"), sample().key).value());
  EXPECT_FALSE(find_profile(*store_, scope_, layer_, "x").value());
  EXPECT_EQ(find_profile(*store_, scope_, layer_, "../x").error().code, ErrorCode::invalid_argument);
}

TEST_F(ProfileStore, OneThatLiesUnderAWrongNameIsRefused) {
  const std::string json = to_json(sample());
  ASSERT_TRUE(store_->create(profiles_prefix(scope_, layer_) + "other/7.json", json));
  ASSERT_TRUE(store_->create(profiles_prefix(scope_, layer_) + sample().key + "/8.json", json));
  EXPECT_EQ(find_profile(*store_, scope_, layer_, "other").error().code, ErrorCode::corrupt);
  EXPECT_EQ(find_profile(*store_, scope_, layer_, sample().key).error().code, ErrorCode::corrupt);
}

TEST_F(ProfileStore, AListHasTheNewestOfEachKey) {
  Profile other = sample();
  other.key = "b";
  other.generation = 1;
  put(other);
  put(sample());
  ASSERT_TRUE(store_->create(profiles_prefix(scope_, layer_) + "broken/1.json", "{"));
  ASSERT_TRUE(store_->create(profiles_prefix(scope_, layer_) + "b/old.txt", "x"));
  const auto profiles = list_profiles(*store_, scope_, layer_).value();
  ASSERT_EQ(profiles.size(), 2U);
  EXPECT_EQ(profiles[0].key, "b");
  EXPECT_EQ(profiles[1].generation, 7U);
}

TEST(Profile, TheNextGenerationCountsTheStart) {
  Profile profile = sample();
  const StartFigures start{.at = profile.created, .asked_bytes = 77};
  for (size_t i = 0; i < kListedStarts; ++i) profile = next_generation(profile, start, profile.created + seconds(1));
  EXPECT_EQ(profile.generation, 7U + kListedStarts);
  EXPECT_EQ(profile.starts, 12U + kListedStarts);
  ASSERT_EQ(profile.recent.size(), kListedStarts);
  EXPECT_EQ(profile.recent.front().asked_bytes, 77U);
  EXPECT_TRUE(parse_profile(to_json(profile)));
}

TEST(Profile, GoodStartsAreWrittenDownOnceAnHour) {
  const Profile profile = sample();
  EXPECT_FALSE(is_worth_writing(profile, profile.created + kFiguresEvery - seconds(1)));
  EXPECT_TRUE(is_worth_writing(profile, profile.created + kFiguresEvery));
  EXPECT_TRUE(is_worth_writing(Profile{}, profile.created));
}

TEST(Profile, TheFirstGenerationsLearnFast) {
  Profile profile = sample();
  EXPECT_FALSE(may_write_bundle(profile, profile.created + seconds(1)));
  EXPECT_TRUE(may_write_bundle(profile, profile.created + kFiguresEvery));
  profile.generation = 1;
  EXPECT_TRUE(may_write_bundle(profile, profile.created + seconds(1)));
}

TEST(Profile, IsOneLineForPeople) {
  EXPECT_EQ(summary_line(sample()),
            "generation 7 · starts 12 · recall 97 % · precision 91 % · bundle 68.7 MiB for 302.3 MiB");
}

}  // namespace
}  // namespace hearth::image
