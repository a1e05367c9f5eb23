#include "blob/sigv4.hpp"

#include "base/digest.hpp"
#include "base/encoding.hpp"
#include "base/hmac.hpp"
#include "base/trimmed.hpp"

#include <algorithm>
#include <map>

namespace hearth::blob {

namespace {

/// "20150830T123600Z"
std::string basic_time(WallTime now) {
  std::string time = to_iso8601(std::chrono::floor<seconds>(now)).substr(0, 19) + "Z";
  std::erase(time, '-');
  std::erase(time, ':');
  return time;
}

/// Blanks at the ends go, runs of them inside become one.
std::string canonical_value(std::string_view value) {
  std::string out;
  for (const char c : trimmed(value)) {
    if (is_blank(c) && !out.empty() && out.back() == ' ') continue;
    out.push_back(is_blank(c) ? ' ' : c);
  }
  return out;
}

/// Sorted by name; the values of one name are joined in the order given.
std::map<std::string, std::string> signed_headers(const SigningRequest& request) {
  std::map<std::string, std::string> headers = {{"host", request.host}};
  for (const auto& [name, value] : request.headers) {
    const auto [at, fresh] = headers.try_emplace(name, canonical_value(value));
    if (!fresh) at->second += "," + canonical_value(value);
  }
  return headers;
}

/// "host;x-amz-date"
std::string names_of(const std::map<std::string, std::string>& headers) {
  std::string names;
  for (const auto& [name, value] : headers) names += (names.empty() ? "" : ";") + name;
  return names;
}

}  // namespace

std::string canonical_query(const NameValues& query) {
  NameValues encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(percent_encode(name), percent_encode(value));
  std::ranges::sort(encoded);
  std::string out;
  for (const auto& [name, value] : encoded) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

std::string canonical_request(const SigningRequest& request) {
  const auto headers = signed_headers(request);
  std::string out = request.method + "\n" + request.path + "\n" + canonical_query(request.query) + "\n";
  for (const auto& [name, value] : headers) out.append(name).append(":").append(value).append("\n");
  return out + "\n" + names_of(headers) + "\n" + request.payload_sha256;
}

std::vector<std::string> sign_v4(const SigningRequest& request, const SigningScope& scope, const AwsKeys& keys,
                                 WallTime now) {
  const std::string time = basic_time(now);
  const std::string day = time.substr(0, 8);
  SigningRequest all = request;
  all.headers.emplace_back("x-amz-date", time);
  if (scope.service == "s3") all.headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
  if (!keys.token.empty()) all.headers.emplace_back("x-amz-security-token", keys.token);

  const std::string where = day + "/" + scope.region + "/" + scope.service + "/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + time + "\n" + where + "\n" + Digest::of(canonical_request(all)).hex();
  std::string key = hmac_sha256("AWS4" + keys.secret, day);
  for (const std::string_view part :
       {std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")}) {
    key = hmac_sha256(key, part);
  }
  std::vector<std::string> headers;
  for (const auto& [name, value] : all.headers) headers.push_back(name + ": " + value);
  headers.push_back("authorization: AWS4-HMAC-SHA256 Credential=" + keys.id + "/" + where + ", SignedHeaders=" +
                    names_of(signed_headers(all)) + ", Signature=" + to_hex(hmac_sha256(key, to_sign)));
  return headers;
}

}  // namespace hearth::blob
