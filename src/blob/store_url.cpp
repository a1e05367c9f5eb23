#include "blob/store_url.hpp"

#include "base/encoding.hpp"
#include "base/quantity.hpp"
#include "blob/aws_profile.hpp"
#include "blob/http_client.hpp"
#include "blob/object_store.hpp"

#include <algorithm>

namespace hearth::blob {

namespace {

constexpr size_t kBucketMinBytes = 3;
constexpr size_t kBucketMaxBytes = 222;  // of GCS with dots; S3's are shorter
constexpr std::string_view kDefaultRegion = "us-east-1";

bool is_bucket_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
}

bool names_a_secret(std::string_view setting) {
  return setting.contains("key") || setting.contains("secret") || setting.contains("token");
}

Result<> add_setting(StoreUrl& parsed, std::string_view pair, const std::vector<std::string_view>& known) {
  const size_t equals = std::min(pair.find('='), pair.size());
  const std::string name = percent_decode(pair.substr(0, equals));
  if (std::ranges::find(known, name) == known.end()) {
    if (names_a_secret(name)) {
      return fail(ErrorCode::invalid_argument, "the store's URL has '" + name +
                                                   "': credentials never stand in a URL; give them by environment or "
                                                   "file (docs/stores.md)");
    }
    std::string all;
    for (const std::string_view one : known) all += (all.empty() ? "" : ", ") + std::string(one);
    return fail(ErrorCode::invalid_argument, "the store's URL has '" + name + "', which is none of " + all);
  }
  parsed.settings[name] = equals == pair.size() ? "true" : percent_decode(pair.substr(equals + 1));
  return {};
}

std::string setting_or(const StoreUrl& url, std::string_view name, const std::string& otherwise) {
  const auto found = url.settings.find(name);
  return found == url.settings.end() || found->second.empty() ? otherwise : found->second;
}

}  // namespace

Result<bool> StoreUrl::flag(std::string_view name, bool otherwise) const {
  const auto found = settings.find(name);
  if (found == settings.end()) return otherwise;
  if (found->second == "true") return true;
  if (found->second == "false") return false;
  return fail(ErrorCode::invalid_argument,
              "the store's URL has " + std::string(name) + "=" + found->second + "; it is true or false");
}

Result<StoreTimeouts> StoreUrl::timeouts() const {
  StoreTimeouts times;
  for (const auto& [name, time] : {std::pair{"connect-timeout", &times.connect}, {"stall-timeout", &times.stall}}) {
    const auto found = settings.find(name);
    if (found == settings.end()) continue;
    auto parsed = parse_duration(found->second);
    if (!parsed) return fail_with_context("the store's URL, " + std::string(name), std::move(parsed).error());
    *time = *parsed;
  }
  return times;
}

Result<StoreUrl> parse_store_url(std::string_view url, std::string_view scheme,
                                 const std::vector<std::string_view>& known) {
  if (!url.starts_with(scheme)) return fail(ErrorCode::invalid_argument, "not a URL of " + std::string(scheme));
  std::string_view rest = url.substr(scheme.size());
  std::string_view query;
  if (const size_t at = rest.find('?'); at != std::string_view::npos) {
    query = rest.substr(at + 1);
    rest = rest.substr(0, at);
  }
  StoreUrl parsed;
  const size_t slash = std::min(rest.find('/'), rest.size());
  parsed.bucket = rest.substr(0, slash);
  const bool right = parsed.bucket.size() >= kBucketMinBytes && parsed.bucket.size() <= kBucketMaxBytes &&
                     std::ranges::all_of(parsed.bucket, is_bucket_character);
  if (!right) {
    return fail(ErrorCode::invalid_argument, "'" + parsed.bucket + "' cannot be a bucket's name; a store is " +
                                                 std::string(scheme) + "BUCKET or " + std::string(scheme) +
                                                 "BUCKET/PREFIX");
  }
  std::string_view prefix = slash < rest.size() ? rest.substr(slash + 1) : std::string_view();
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (!prefix.empty()) {
    TRY_VOID(check_key(prefix));
    parsed.prefix = std::string(prefix) + "/";
  }
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    if (end > 0) TRY_VOID(add_setting(parsed, query.substr(0, end), known));
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return parsed;
}

Result<S3Location> S3Location::of(std::string_view url, const StoreEnvironment& environment) {
  TRY(const StoreUrl parsed, parse_store_url(url, "s3://",
                                             {"endpoint", "region", "path-style", "profile", "anonymous",
                                              "connect-timeout", "stall-timeout"}));
  S3Location location{.bucket = parsed.bucket, .prefix = parsed.prefix};
  location.profile = setting_or(parsed, "profile", environment.get_or("AWS_PROFILE", "default"));
  const std::string known_region = environment.get("AWS_REGION")
                                       .or_else([&environment] { return environment.get("AWS_DEFAULT_REGION"); })
                                       .value_or(AwsProfile::read(environment, location.profile).region);
  location.region = setting_or(parsed, "region", known_region.empty() ? std::string(kDefaultRegion) : known_region);
  const std::string own_endpoint =
      environment.get("AWS_ENDPOINT_URL_S3").value_or(environment.get_or("AWS_ENDPOINT_URL", ""));
  location.endpoint = setting_or(parsed, "endpoint", own_endpoint);
  const bool is_aws = location.endpoint.empty();
  if (is_aws) location.endpoint = "https://s3." + location.region + ".amazonaws.com";
  if (!location.endpoint.starts_with("http://") && !location.endpoint.starts_with("https://")) {
    return fail(ErrorCode::invalid_argument, "the store's endpoint '" + location.endpoint +
                                                 "' is no URL; it is like https://s3.example.org or http://host:9000");
  }
  while (location.endpoint.ends_with('/')) location.endpoint.pop_back();
  // HTTP clients leave a scheme's own port out of the host they send, and the host is signed.
  const std::string_view own_port = location.scheme() == "https://" ? ":443" : ":80";
  if (location.endpoint.ends_with(own_port)) location.endpoint.resize(location.endpoint.size() - own_port.size());
  if (location.endpoint.substr(location.scheme().size()).find_first_of("/?#@") != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                "the store's endpoint '" + location.endpoint + "' has more than a host and a port");
  }
  // A certificate for *.endpoint does not cover names with dots; other servers rarely answer to bucket.host.
  TRY(location.path_style, parsed.flag("path-style", !is_aws || location.bucket.contains('.')));
  TRY(location.timeouts, parsed.timeouts());
  TRY(location.anonymous, parsed.flag("anonymous", false));
  return location;
}

std::string S3Location::scheme() const {
  return endpoint.starts_with("https://") ? "https://" : "http://";
}

std::string S3Location::host() const {
  const std::string host = host_of(endpoint);
  return path_style ? host : bucket + "." + host;
}

std::string S3Location::path_of(std::string_view object_name) const {
  const std::string object = percent_encode(object_name, Slash::keep);
  if (!path_style) return "/" + object;
  return "/" + bucket + (object.empty() ? "" : "/" + object);
}

}  // namespace hearth::blob
