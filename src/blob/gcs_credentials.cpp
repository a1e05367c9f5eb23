#include "blob/gcs_credentials.hpp"

#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/hmac.hpp"
#include "blob/remote_call.hpp"
#include "blob/sigv4.hpp"

#include <nlohmann/json.hpp>

namespace hearth::blob {

namespace {

using Fetched = GcsToken::Fetched;
using Json = nlohmann::json;

constexpr uint64_t kKeyFileMaxBytes = 1024 * 1024;
constexpr Duration kFetchTime = seconds(15);
constexpr const char* kScope = "https://www.googleapis.com/auth/devstorage.read_write";
constexpr const char* kTokenUri = "https://oauth2.googleapis.com/token";
constexpr std::chrono::hours kAssertionLife{1};

std::string text_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<Fetched> token_of_answer(const HttpReply& reply, const std::string& from) {
  const auto json = Json::parse(reply.body, nullptr, false);
  if (!json.is_object()) {
    return fail(ErrorCode::denied, from + " gave no token: status " + std::to_string(reply.status));
  }
  std::string token = text_of(json, "access_token");
  if (!reply.ok() || token.empty()) {
    return fail(ErrorCode::denied,
                from + " gave no token: " + text_of(json, "error") + " " + text_of(json, "error_description"));
  }
  const auto life = json.find("expires_in");
  if (life == json.end() || !life->is_number_integer()) return Fetched{.value = std::move(token), .expires = {}};
  return Fetched{.value = std::move(token), .expires = wall_now() + seconds(life->get<int64_t>())};
}

Result<HttpReply> ask(HttpClient& client, const HttpRequest& request) {
  TRY(RemoteAnswer answer, call_remote(client,
                                       {.make = [&request]() -> Result<HttpRequest> { return request; },
                                        .judge = [](const HttpReply& reply) { return verdict_of_status(reply.status); },
                                        .renew = {}},
                                       {.deadline = Deadline::after(mono_now(), kFetchTime)}));
  return std::move(answer.reply);
}

Result<Fetched> trade(const std::string& uri, const NameValues& form) {
  HttpClient client;
  const std::string body = canonical_query(form);
  TRY(const HttpReply reply, ask(client, {.method = "POST",
                                          .url = uri,
                                          .headers = {"Content-Type: application/x-www-form-urlencoded"},
                                          .body = HttpBody{.bytes = body}}));
  return token_of_answer(reply, "the token service at " + host_of(uri));
}

Result<Fetched> token_of_file(const std::string& path) {
  auto text = read_file(path, kKeyFileMaxBytes);
  if (!text) return fail_with_context("Google credentials", std::move(text).error());
  const auto json = Json::parse(*text, nullptr, false);
  const std::string type = json.is_object() ? text_of(json, "type") : "";
  if (type == "service_account") {
    auto assertion = service_account_assertion(*text, wall_now());
    if (!assertion) return fail_with_context("Google credentials in " + path, std::move(assertion).error());
    const std::string uri = text_of(json, "token_uri");
    return trade(uri.empty() ? kTokenUri : uri,
                 {{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}, {"assertion", *assertion}});
  }
  if (type == "authorized_user") {
    return trade(kTokenUri, {{"grant_type", "refresh_token"},
                             {"client_id", text_of(json, "client_id")},
                             {"client_secret", text_of(json, "client_secret")},
                             {"refresh_token", text_of(json, "refresh_token")}});
  }
  return fail(ErrorCode::denied, "Google credentials in " + path + " are of the type '" + type +
                                     "', which Hearth does not know: give a service account's key");
}

/// Nothing when there is no such service here.
Result<std::optional<Fetched>> token_of_metadata(const StoreEnvironment& environment) {
  const std::string host = environment.get_or("GCE_METADATA_HOST", "metadata.google.internal");
  HttpClient client({.connect_timeout = seconds(1), .stall_timeout = seconds(4), .ca_bundle = {}, .direct = true});
  const auto reply =
      client.exchange({.url = "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/token",
                       .headers = {"Metadata-Flavor: Google"}});
  if (!reply || reply->status == 404) return std::optional<Fetched>();
  TRY(Fetched fetched, token_of_answer(*reply, "the metadata service"));
  return std::optional<Fetched>(std::move(fetched));
}

}  // namespace

Result<std::string> service_account_assertion(std::string_view key_file_json, WallTime now) {
  const auto json = Json::parse(key_file_json, nullptr, false);
  if (!json.is_object() || text_of(json, "client_email").empty() || text_of(json, "private_key").empty()) {
    return fail(ErrorCode::invalid_argument, "not a service account's key: client_email or private_key is missing");
  }
  const std::string uri = text_of(json, "token_uri");
  const int64_t issued = to_unix_us(now) / 1'000'000;
  Json header = {{"alg", "RS256"}, {"typ", "JWT"}};
  if (const std::string id = text_of(json, "private_key_id"); !id.empty()) header["kid"] = id;
  const Json claims = {{"iss", text_of(json, "client_email")},
                       {"scope", kScope},
                       {"aud", uri.empty() ? kTokenUri : uri},
                       {"iat", issued},
                       {"exp", issued + std::chrono::seconds(kAssertionLife).count()}};
  const std::string to_sign = base64url_encode(header.dump()) + "." + base64url_encode(claims.dump());
  TRY(const std::string signature, sign_rs256(text_of(json, "private_key"), to_sign));
  return to_sign + "." + base64url_encode(signature);
}

Result<Fetched> fetch_gcs_token(const StoreEnvironment& environment) {
  if (const auto file = environment.get("GOOGLE_APPLICATION_CREDENTIALS")) return token_of_file(*file);
  const std::string own = environment.get_or("HOME", "/root") + "/.config/gcloud/application_default_credentials.json";
  if (std::error_code error; std::filesystem::exists(own, error)) return token_of_file(own);
  TRY(auto token, token_of_metadata(environment));
  if (token) return std::move(*token);
  return fail(ErrorCode::denied,
              "no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file, or run where "
              "the machine has a service account; for a public bucket add ?anonymous=true to the store's URL");
}

}  // namespace hearth::blob
