// "s3://bucket/prefix?region=…" and "gs://…": the parts of a store's URL.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/store_environment.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// How long a server may take: settings connect-timeout and stall-timeout of any remote store.
struct StoreTimeouts {
  Duration connect = seconds(5);
  Duration stall = seconds(15);
};

struct StoreUrl {
  std::string bucket;
  std::string prefix;  // empty, or ends with '/'
  std::map<std::string, std::string, std::less<>> settings;

  /// invalid_argument when it is neither true nor false.
  Result<bool> flag(std::string_view name, bool otherwise) const;
  /// invalid_argument when one is no duration.
  Result<StoreTimeouts> timeouts() const;
};

/// invalid_argument for another scheme, a bucket that cannot be one, settings that are not among `known`, or secrets.
Result<StoreUrl> parse_store_url(std::string_view url, std::string_view scheme,
                                 const std::vector<std::string_view>& known);

/// Where a bucket is and how it is addressed.
struct S3Location {
  std::string bucket;
  std::string prefix;
  std::string endpoint;  // "https://s3.eu-central-1.amazonaws.com", no '/' at the end
  std::string region;
  bool path_style = false;  // endpoint/bucket/key; else bucket.endpoint/key
  bool anonymous = false;   // requests are not signed: public buckets
  std::string profile;
  StoreTimeouts timeouts;

  static Result<S3Location> of(std::string_view url, const StoreEnvironment& environment);

  /// Without the '/' before a query: "bucket.s3.eu-central-1.amazonaws.com".
  std::string host() const;
  /// "https://" or "http://"
  std::string scheme() const;
  /// The path of a key (without the prefix), percent-encoded; of the bucket itself for "".
  std::string path_of(std::string_view object_name) const;
};

}  // namespace hearth::blob
