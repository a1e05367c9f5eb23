// AWS Signature Version 4: the headers that prove who sends a request. Pure: the time is an argument.
#pragma once

#include "base/clock.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::blob {

struct AwsKeys {
  std::string id;
  std::string secret;
  std::string token;  // empty for keys that do not expire
};

struct SigningScope {
  std::string region;
  std::string service = "s3";
};

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct SigningRequest {
  std::string method;
  std::string host;            // as it is sent, with the port when that is not the scheme's own
  std::string path;            // already percent-encoded, from '/'; sent and signed as it is
  NameValues query;            // plain; any order
  NameValues headers;          // further ones to sign, names in lower case
  std::string payload_sha256;  // in hex
};

/// Headers to add: "name: value" of x-amz-date, x-amz-content-sha256 (S3 only), x-amz-security-token, authorization,
/// and those given. Host is signed but left to the HTTP client.
std::vector<std::string> sign_v4(const SigningRequest& request, const SigningScope& scope, const AwsKeys& keys,
                                 WallTime now);

/// The canonical request that is hashed and signed: what a server's SignatureDoesNotMatch is compared with.
std::string canonical_request(const SigningRequest& request);

/// "a=b&c=d", encoded and sorted as signatures want it: also right in a URL.
std::string canonical_query(const NameValues& query);

/// Of no bytes.
inline constexpr std::string_view kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

}  // namespace hearth::blob
