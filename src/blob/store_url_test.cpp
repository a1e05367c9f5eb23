#include "blob/store_url.hpp"

#include "blob/gcs_session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string, std::less<>>;

S3Location s3(std::string_view url, Variables variables = {}) {
  variables.emplace("HOME", "/nowhere");
  return S3Location::of(url, StoreEnvironment(std::move(variables))).value();
}

TEST(S3Location, OfAwsIsAddressedByTheBucketsHost) {
  const S3Location location = s3("s3://models/team/a/", {{"AWS_REGION", "eu-central-1"}});
  EXPECT_EQ(location.prefix, "team/a/");
  EXPECT_EQ(location.host(), "models.s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(location.path_of("team/a/x y"), "/team/a/x%20y");
  EXPECT_EQ(location.path_of(""), "/");
}

TEST(S3Location, OfAnotherServerIsAddressedByPath) {
  const S3Location location = s3("s3://models?endpoint=http://127.0.0.1:9000/");
  EXPECT_EQ(location.scheme(), "http://");
  EXPECT_EQ(location.host(), "127.0.0.1:9000");
  EXPECT_EQ(location.path_of("k"), "/models/k");
  EXPECT_EQ(location.path_of(""), "/models");
  EXPECT_EQ(location.region, "us-east-1");
}

TEST(S3Location, LeavesTheSchemesOwnPortOut) {
  EXPECT_EQ(s3("s3://models?endpoint=https://h:443/").host(), "h");
  EXPECT_EQ(s3("s3://models?endpoint=http://h:80").host(), "h");
  EXPECT_EQ(s3("s3://models?endpoint=http://h:443").host(), "h:443");
}

TEST(S3Location, ABucketWithDotsIsAddressedByPathBecauseOfCertificates) {
  EXPECT_EQ(s3("s3://my.models").path_of("k"), "/my.models/k");
  EXPECT_EQ(s3("s3://my.models?path-style=false").host(), "my.models.s3.us-east-1.amazonaws.com");
}

TEST(S3Location, TheUrlWinsOverTheEnvironment) {
  const Variables variables = {{"AWS_REGION", "a-1"}, {"AWS_ENDPOINT_URL", "https://one"}, {"AWS_PROFILE", "p"}};
  const S3Location theirs = s3("s3://models", variables);
  EXPECT_EQ(theirs.region, "a-1");
  EXPECT_EQ(theirs.endpoint, "https://one");
  EXPECT_EQ(theirs.profile, "p");
  const S3Location ours = s3("s3://models?region=b-2&endpoint=https%3A%2F%2Ftwo&profile=q&anonymous", variables);
  EXPECT_EQ(ours.region, "b-2");
  EXPECT_EQ(ours.endpoint, "https://two");
  EXPECT_EQ(ours.profile, "q");
  EXPECT_TRUE(ours.anonymous);
}

TEST(S3Location, WrongUrlsAreRefusedWithTheReason) {
  for (const auto& [url, reason] :
       std::map<std::string, std::string>{{"s3://", "bucket"},
                                          {"s3://a", "bucket"},
                                          {"s3://a b c", "bucket"},
                                          {"s3://user:word@bucket", "bucket"},
                                          {"s3://bucket/../x", "'..'"},
                                          {"s3://bucket?regio=x", "none of"},
                                          {"s3://bucket?secret_access_key=x", "never stand in a URL"},
                                          {"s3://bucket?path-style=yes", "true or false"},
                                          {"s3://bucket?stall-timeout=5", "stall-timeout"},
                                          {"s3://bucket?endpoint=host:9000", "no URL"},
                                          {"s3://bucket?endpoint=http://h/path", "host and a port"}}) {
    const auto refused = S3Location::of(url, StoreEnvironment());
    ASSERT_FALSE(refused) << url;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << url;
    EXPECT_THAT(refused.error().message, HasSubstr(reason)) << url;
  }
}

TEST(GcsLocation, KnowsEmulators) {
  const auto real = GcsLocation::of("gs://models/p", StoreEnvironment()).value();
  EXPECT_EQ(real.endpoint, "https://storage.googleapis.com");
  EXPECT_FALSE(real.anonymous);
  EXPECT_EQ(real.prefix, "p/");
  const auto emulated =
      GcsLocation::of("gs://models", StoreEnvironment({{"STORAGE_EMULATOR_HOST", "localhost:9023"}})).value();
  EXPECT_EQ(emulated.endpoint, "http://localhost:9023");
  EXPECT_TRUE(emulated.anonymous);
}

TEST(GcsAnswers, AreReadOrRefused) {
  const auto listing =
      parse_gcs_listing(R"({"items":[{"name":"a/1","size":"7"},{"name":"ü"}],"prefixes":["a/b/"],"nextPageToken":"t"})")
          .value();
  EXPECT_THAT(listing.objects, ::testing::ElementsAre(ObjectInfo{"a/1", 7}, ObjectInfo{"ü", 0}));
  EXPECT_THAT(listing.prefixes, ::testing::ElementsAre("a/b/"));
  EXPECT_EQ(listing.next_token, "t");
  EXPECT_THAT(parse_gcs_listing("{}").value().objects, ::testing::IsEmpty());
  for (const char* wrong : {"", "[]", "<html>", R"({"items":{}})", R"({"items":[1]})", R"({"items":[{"size":"1"}]})"}) {
    EXPECT_EQ(parse_gcs_listing(wrong).error().code, ErrorCode::corrupt) << wrong;
  }
  const auto object = parse_gcs_object(R"({"size":"12","metadata":{"hearth-writer":"w"}})").value();
  EXPECT_EQ(object.bytes, 12u);
  EXPECT_EQ(object.writer, "w");
  for (const char* wrong : {"", "{}", R"({"size":12})", R"({"size":"-1"})", R"({"size":"1x"})"}) {
    EXPECT_EQ(parse_gcs_object(wrong).error().code, ErrorCode::corrupt) << wrong;
  }
}

}  // namespace
}  // namespace hearth::blob
