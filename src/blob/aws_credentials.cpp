#include "blob/aws_credentials.hpp"

#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/random_id.hpp"
#include "base/trimmed.hpp"
#include "blob/aws_profile.hpp"
#include "blob/remote_call.hpp"
#include "blob/s3_answers.hpp"
#include "blob/xml_scan.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace hearth::blob {

namespace {

using Fetched = AwsCredentials::Fetched;

constexpr uint64_t kTokenMaxBytes = 64 * 1024;
constexpr Duration kFetchTime = seconds(15);
constexpr std::string_view kContainerHost = "http://169.254.170.2";
constexpr std::string_view kInstanceHost = "http://169.254.169.254";
/// Where a container's full URI may lie without TLS: this machine, and the agents of ECS and EKS.
constexpr std::array<std::string_view, 5> kPlainHosts = {"localhost", "127.0.0.1", "[::1]", "169.254.170.23",
                                                         "[fd00:ec2::23]"};

HttpClientOptions metadata_client(bool direct) {
  return {.connect_timeout = seconds(1), .stall_timeout = seconds(4), .ca_bundle = {}, .direct = direct};
}

Result<std::string> token_of_file(const std::string& path, std::string_view variable) {
  auto text = read_file(path, kTokenMaxBytes);
  if (!text) return fail_with_context(variable, text.error());
  std::string_view token = *text;
  while (token.ends_with('\n') || (!token.empty() && is_blank(token.back()))) token.remove_suffix(1);
  return std::string(token);
}

Result<HttpReply> ask(HttpClient& client, const HttpRequest& request) {
  const RemoteCall call{.make = [&request]() -> Result<HttpRequest> { return request; },
                        .judge = [](const HttpReply& reply) { return verdict_of_status(reply.status); },
                        .renew = {}};
  TRY(RemoteAnswer answer, call_remote(client, call, {.deadline = Deadline::after(mono_now(), kFetchTime)}));
  return std::move(answer.reply);
}

/// Of the instance's and the container's services: {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}.
Result<Fetched> keys_of_json(std::string_view body, std::string_view from) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  const auto text = [&json](const char* name) -> std::string {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
  };
  if (!json.is_object() || text("AccessKeyId").empty() || text("SecretAccessKey").empty()) {
    return fail(ErrorCode::unavailable, "the " + std::string(from) + " answered without keys");
  }
  return Fetched{.value = {.id = text("AccessKeyId"), .secret = text("SecretAccessKey"), .token = text("Token")},
                 .expires = from_iso8601(text("Expiration"))};
}

Result<Fetched> keys_of_web_identity(const AwsCredentialOptions& options, const std::string& token_file) {
  const StoreEnvironment& environment = options.environment;
  const auto role = environment.get("AWS_ROLE_ARN");
  if (!role) return fail(ErrorCode::denied, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not: set both");
  TRY(const std::string token, token_of_file(token_file, "AWS_WEB_IDENTITY_TOKEN_FILE"));
  const std::string session = environment.get_or("AWS_ROLE_SESSION_NAME", "hearth-" + random_id(8));
  const std::string body = canonical_query({{"Action", "AssumeRoleWithWebIdentity"},
                                            {"Version", "2011-06-15"},
                                            {"RoleArn", *role},
                                            {"RoleSessionName", session},
                                            {"WebIdentityToken", token}});
  HttpClient client({.ca_bundle = environment.get_or("AWS_CA_BUNDLE", "")});
  const HttpRequest request{
      .method = "POST",
      .url = environment.get_or("AWS_ENDPOINT_URL_STS", "https://sts." + options.region + ".amazonaws.com") + "/",
      .headers = {"Content-Type: application/x-www-form-urlencoded"},
      .body = HttpBody{.bytes = body}};
  TRY(const HttpReply reply, ask(client, request));
  if (!reply.ok()) {
    const S3ErrorAnswer error = parse_s3_error(reply.body);
    return fail(ErrorCode::denied, "STS gave no keys for the role " + *role + ": " +
                                       (error.code.empty() ? "status " + std::to_string(reply.status)
                                                           : error.code + " (" + error.message + ")"));
  }
  const auto text = [&reply](const char* name) {
    return xml_text(reply.body,
                    {"AssumeRoleWithWebIdentityResponse", "AssumeRoleWithWebIdentityResult", "Credentials", name})
        .value_or("");
  };
  Fetched fetched{
      .value = {.id = text("AccessKeyId"), .secret = text("SecretAccessKey"), .token = text("SessionToken")},
      .expires = from_iso8601(text("Expiration"))};
  if (fetched.value.id.empty()) return fail(ErrorCode::unavailable, "STS answered without keys");
  return fetched;
}

Result<> check_container_uri(const std::string& uri) {
  if (uri.starts_with("https://")) return {};
  const std::string host = host_of(uri);
  const auto is_plain = [&host](std::string_view allowed) {
    return host == allowed || host.starts_with(std::string(allowed) + ":");
  };
  if (uri.starts_with("http://") && std::ranges::any_of(kPlainHosts, is_plain)) return {};
  return fail(ErrorCode::invalid_argument, "AWS_CONTAINER_CREDENTIALS_FULL_URI asks for keys over http from " + host +
                                               ": only https, or this machine");
}

Result<Fetched> keys_of_container(const StoreEnvironment& environment) {
  const auto relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const std::string uri =
      relative ? std::string(kContainerHost) + *relative : environment.get_or("AWS_CONTAINER_CREDENTIALS_FULL_URI", "");
  if (!relative) TRY_VOID(check_container_uri(uri));
  HttpRequest request{.url = uri};
  std::string token = environment.get_or("AWS_CONTAINER_AUTHORIZATION_TOKEN", "");
  if (const auto file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
    TRY(token, token_of_file(*file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
  }
  if (!token.empty()) request.headers.push_back("Authorization: " + token);
  HttpClient client(metadata_client(!uri.starts_with("https://")));
  TRY(const HttpReply reply, ask(client, request));
  if (!reply.ok()) {
    return fail(ErrorCode::denied, "the container's credential service at " + host_of(uri) + " gave no keys: status " +
                                       std::to_string(reply.status));
  }
  return keys_of_json(reply.body, "container's credential service");
}

/// IMDSv2. Nothing when there is no such service here, or it knows of no role.
Result<std::optional<Fetched>> keys_of_instance(const StoreEnvironment& environment) {
  if (environment.get_or("AWS_EC2_METADATA_DISABLED", "false") == "true") return std::optional<Fetched>();
  std::string host = environment.get_or("AWS_EC2_METADATA_SERVICE_ENDPOINT", kInstanceHost);
  while (host.ends_with('/')) host.pop_back();
  HttpClient client(metadata_client(true));
  const auto token = client.exchange({.method = "PUT",
                                      .url = host + "/latest/api/token",
                                      .headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"},
                                      .body = HttpBody{}});
  if (!token || token->status == 404 || token->status == 403) return std::optional<Fetched>();
  if (!token->ok()) return fail(ErrorCode::unavailable, "the instance's metadata service gave no token");
  const std::vector<std::string> headers = {"X-aws-ec2-metadata-token: " + token->body};
  const std::string roles = host + "/latest/meta-data/iam/security-credentials/";
  TRY(const HttpReply role, ask(client, {.url = roles, .headers = headers}));
  if (role.status == 404 || role.body.empty()) return std::optional<Fetched>();
  const std::string name = role.body.substr(0, role.body.find('\n'));
  TRY(const HttpReply keys, ask(client, {.url = roles + percent_encode(name), .headers = headers}));
  if (!keys.ok()) return fail(ErrorCode::unavailable, "the instance's metadata service gave no keys for " + name);
  TRY(Fetched fetched, keys_of_json(keys.body, "instance's metadata service"));
  return std::optional<Fetched>(std::move(fetched));
}

}  // namespace

Result<Fetched> fetch_aws_keys(const AwsCredentialOptions& options) {
  const StoreEnvironment& environment = options.environment;
  if (const auto id = environment.get("AWS_ACCESS_KEY_ID")) {
    const auto secret = environment.get("AWS_SECRET_ACCESS_KEY");
    if (!secret) return fail(ErrorCode::denied, "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not: set both");
    return Fetched{.value = {.id = *id, .secret = *secret, .token = environment.get_or("AWS_SESSION_TOKEN", "")},
                   .expires = {}};
  }
  if (const auto file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")) return keys_of_web_identity(options, *file);
  const AwsProfile profile = AwsProfile::read(environment, options.profile);
  if (!profile.keys.id.empty() && !profile.keys.secret.empty()) return Fetched{.value = profile.keys, .expires = {}};
  if (!profile.unsupported.empty()) {
    return fail(ErrorCode::denied, "the AWS profile '" + options.profile + "' gets its keys by '" +
                                       profile.unsupported +
                                       "', which Hearth does not know: give keys by environment, e.g. with 'aws "
                                       "configure export-credentials --format env'");
  }
  if (environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
      environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
    return keys_of_container(environment);
  }
  TRY(auto instance, keys_of_instance(environment));
  if (instance) return std::move(*instance);
  return fail(ErrorCode::denied,
              "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write the "
              "profile '" +
                  options.profile + "' in " + profile.file +
                  ", or run where the container or the instance has a role; for a public bucket add "
                  "?anonymous=true to the store's URL");
}

}  // namespace hearth::blob
