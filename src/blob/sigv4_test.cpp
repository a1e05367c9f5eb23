#include "blob/sigv4.hpp"

#include "base/digest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Vector {
  const char* name;  // as AWS calls it
  SigningRequest request;
  SigningScope scope;
  AwsKeys keys;
  const char* time;
  const char* signature;
};

std::string authorization_of(const std::vector<std::string>& headers) {
  const auto found =
      std::ranges::find_if(headers, [](const auto& line) { return line.starts_with("authorization: "); });
  return found == headers.end() ? "" : *found;
}

/// Of AWS's "aws-sig-v4-test-suite": another service than S3, so no x-amz-content-sha256.
Vector of_suite(const char* name, SigningRequest request, const char* signature) {
  request.host = "example.amazonaws.com";
  if (request.path.empty()) request.path = "/";
  if (request.payload_sha256.empty()) request.payload_sha256 = kEmptySha256;
  return {name,
          std::move(request),
          {.region = "us-east-1", .service = "service"},
          {.id = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", .token = ""},
          "2015-08-30T12:36:00Z",
          signature};
}

/// Of the S3 documentation, "Signature Calculations for the Authorization Header".
Vector of_s3_guide(const char* name, SigningRequest request, const char* signature) {
  request.host = "examplebucket.s3.amazonaws.com";
  if (request.payload_sha256.empty()) request.payload_sha256 = kEmptySha256;
  return {name,
          std::move(request),
          {.region = "us-east-1", .service = "s3"},
          {.id = "AKIAIOSFODNN7EXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", .token = ""},
          "2013-05-24T00:00:00Z",
          signature};
}

std::vector<Vector> published() {
  std::vector<Vector> all;
  all.push_back(
      of_suite("get-vanilla", {.method = "GET"}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
  all.push_back(
      of_suite("post-vanilla", {.method = "POST"}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
  all.push_back(of_suite("get-vanilla-query-order-key-case",
                         {.method = "GET", .query = {{"Param2", "value2"}, {"Param1", "value1"}}},
                         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
  all.push_back(of_suite("get-vanilla-utf8-query", {.method = "GET", .query = {{"\xE1\x88\xB4", "bar"}}},
                         "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"));
  all.push_back(of_suite("get-header-value-trim",
                         {.method = "GET", .headers = {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}}},
                         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"));
  all.push_back(of_s3_guide("GET Object", {.method = "GET", .path = "/test.txt", .headers = {{"range", "bytes=0-9"}}},
                            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
  all.push_back(of_s3_guide(
      "PUT Object",
      {.method = "PUT",
       .path = "/test%24file.text",
       .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
       .payload_sha256 = Digest::of("Welcome to Amazon S3.").hex()},
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
  all.push_back(of_s3_guide("GET Bucket Lifecycle", {.method = "GET", .path = "/", .query = {{"lifecycle", ""}}},
                            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
  all.push_back(of_s3_guide("Get Bucket (List Objects)",
                            {.method = "GET", .path = "/", .query = {{"max-keys", "2"}, {"prefix", "J"}}},
                            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
  return all;
}

TEST(SigV4, MatchesThePublishedVectors) {
  for (const Vector& vector : published()) {
    const auto headers = sign_v4(vector.request, vector.scope, vector.keys, *from_iso8601(vector.time));
    EXPECT_THAT(authorization_of(headers), HasSubstr(std::string("Signature=") + vector.signature)) << vector.name;
  }
}

TEST(SigV4, SignsTheTokenOfTemporaryKeysAndNeverSendsTheSecret) {
  const auto headers =
      sign_v4({.method = "GET", .host = "h", .path = "/", .payload_sha256 = std::string(kEmptySha256)}, {.region = "r"},
              {.id = "id", .secret = "very-secret", .token = "a token"}, *from_iso8601("2026-01-02T03:04:05Z"));
  EXPECT_THAT(headers, ::testing::Contains("x-amz-security-token: a token"));
  EXPECT_THAT(authorization_of(headers),
              HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
  for (const std::string& line : headers) EXPECT_THAT(line, Not(HasSubstr("very-secret")));
}

TEST(SigV4, EncodesAndSortsTheQueryAsItIsSent) {
  EXPECT_EQ(canonical_query({{"prefix", "a b/+=&"}, {"list-type", "2"}, {"uploads", ""}}),
            "list-type=2&prefix=a%20b%2F%2B%3D%26&uploads=");
}

}  // namespace
}  // namespace hearth::blob
