#include "blob/gcs_session.hpp"

#include "base/encoding.hpp"

#include <nlohmann/json.hpp>

#include <charconv>

namespace hearth::blob {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kGoogle = "https://storage.googleapis.com";

std::string text_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Result<GcsLocation> GcsLocation::of(std::string_view url, const StoreEnvironment& environment) {
  TRY(const StoreUrl parsed,
      parse_store_url(url, "gs://", {"endpoint", "anonymous", "connect-timeout", "stall-timeout"}));
  GcsLocation location{.bucket = parsed.bucket, .prefix = parsed.prefix};
  const auto emulator = environment.get("STORAGE_EMULATOR_HOST");
  if (const auto given = parsed.settings.find("endpoint"); given != parsed.settings.end()) {
    location.endpoint = given->second;
  } else if (emulator) {
    location.endpoint = emulator->contains("://") ? *emulator : "http://" + *emulator;
  } else {
    location.endpoint = kGoogle;
  }
  while (location.endpoint.ends_with('/')) location.endpoint.pop_back();
  if (!location.endpoint.starts_with("http://") && !location.endpoint.starts_with("https://")) {
    return fail(ErrorCode::invalid_argument, "the store's endpoint '" + location.endpoint + "' is no URL");
  }
  TRY(location.timeouts, parsed.timeouts());
  TRY(location.anonymous, parsed.flag("anonymous", emulator.has_value()));
  return location;
}

Result<GcsListing> parse_gcs_listing(std::string_view json) {
  const auto parsed = Json::parse(json, nullptr, false);
  if (!parsed.is_object()) return fail(ErrorCode::corrupt, "not a listing of a bucket");
  GcsListing listing{.objects = {}, .prefixes = {}, .next_token = text_of(parsed, "nextPageToken")};
  for (const char* name : {"items", "prefixes"}) {
    const auto list = parsed.find(name);
    if (list == parsed.end() || list->is_null()) continue;  // none of that prefix
    if (!list->is_array()) return fail(ErrorCode::corrupt, "not a listing of a bucket");
    for (const Json& item : *list) {
      if (item.is_string()) {
        listing.prefixes.push_back(item.get<std::string>());
        continue;
      }
      if (!item.is_object() || text_of(item, "name").empty()) {
        return fail(ErrorCode::corrupt, "a listing with an object without a name");
      }
      ObjectInfo object{.key = text_of(item, "name")};
      const std::string size = text_of(item, "size");
      std::from_chars(size.data(), size.data() + size.size(), object.size);
      listing.objects.push_back(std::move(object));
    }
  }
  return listing;
}

Result<GcsObject> parse_gcs_object(std::string_view json) {
  const auto parsed = Json::parse(json, nullptr, false);
  const std::string size = parsed.is_object() ? text_of(parsed, "size") : "";
  GcsObject object;
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), object.bytes);
  if (size.empty() || error != std::errc() || end != size.data() + size.size()) {
    return fail(ErrorCode::corrupt, "an object without a size");
  }
  const auto metadata = parsed.find("metadata");
  if (metadata != parsed.end() && metadata->is_object()) object.writer = text_of(*metadata, "hearth-writer");
  return object;
}

GcsSession::GcsSession(GcsLocation location, StoreEnvironment environment)
    : location_(std::move(location)),
      client_({.connect_timeout = location_.timeouts.connect, .stall_timeout = location_.timeouts.stall}),
      token_([environment = std::move(environment)] { return fetch_gcs_token(environment); }) {}

std::string GcsSession::url_of(std::string_view object, const NameValues& query) const {
  const std::string encoded = canonical_query(query);
  return location_.endpoint + "/storage/v1/b/" + location_.bucket + "/o" +
         (object.empty() ? "" : "/" + percent_encode(object)) + (encoded.empty() ? "" : "?" + encoded);
}

std::string GcsSession::upload_url(const NameValues& query) const {
  return location_.endpoint + "/upload/storage/v1/b/" + location_.bucket + "/o?" + canonical_query(query);
}

Result<HttpRequest> GcsSession::authorise(const GcsRequest& request) {
  HttpRequest http{.method = request.method, .url = request.url, .headers = request.headers, .body = request.body};
  if (location_.anonymous) return http;
  TRY(const auto token, token_.get());
  http.headers.push_back("Authorization: Bearer " + *token);
  const std::lock_guard lock(mutex_);
  last_used_ = token;
  return http;
}

Verdict GcsSession::judge(const HttpReply& reply) const {
  if (reply.status == 401 && !location_.anonymous) return Verdict::renew;
  return verdict_of_status(reply.status);
}

void GcsSession::renew() {
  std::shared_ptr<const std::string> refused;
  {
    const std::lock_guard lock(mutex_);
    refused = last_used_;
  }
  if (refused) token_.drop(refused);
}

Result<RemoteAnswer> GcsSession::call(const GcsRequest& request, const Patience& patience) {
  return call_remote(client_,
                     {.make = [this, &request] { return authorise(request); },
                      .judge = [this](const HttpReply& reply) { return judge(reply); },
                      .renew = [this] { renew(); }},
                     patience);
}

Result<> GcsSession::read(const std::string& object, ByteRange range, const ByteSink& sink, const Patience& patience) {
  const std::string url = url_of(object, {{"alt", "media"}});
  const RemoteRead read{.make =
                            [this, &url](ByteRange part) {
                              GcsRequest request{.url = url};
                              const bool whole = part.offset == 0 && part.length == ByteRange::kToEnd;
                              if (!whole) request.headers.push_back("Range: " + range_header(part));
                              return authorise(request);
                            },
                        .judge = [this](const HttpReply& reply) { return judge(reply); },
                        .renew = [this] { renew(); },
                        .error = [this, &object](const HttpReply& reply) { return failed("read " + object, reply); },
                        .name = "object " + object};
  return read_remote(client_, read, range, sink, patience);
}

Unexpected GcsSession::failed(const std::string& what, const HttpReply& reply) const {
  const std::string where = what + " in gs://" + location_.bucket + " at " + location_.endpoint + ": ";
  const auto json = Json::parse(reply.body, nullptr, false);
  std::string detail = "status " + std::to_string(reply.status);
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    detail += ", " + text_of(json["error"], "message");
  }
  switch (reply.status) {
    case 401:
      return fail(ErrorCode::denied, where +
                                         "the credentials are not accepted: check "
                                         "GOOGLE_APPLICATION_CREDENTIALS (" +
                                         detail + ")");
    case 403:
      return fail(ErrorCode::denied, where +
                                         "not allowed: the account needs the role roles/storage.objectAdmin on the "
                                         "bucket (" +
                                         detail + ")");
    case 404:
      return fail(ErrorCode::not_found, where + "no such object (" + detail + ")");
    case 416:
      return fail(ErrorCode::corrupt, where + "the object is shorter than that (" + detail + ")");
    default:
      break;
  }
  const bool again = verdict_of_status(reply.status) == Verdict::again;
  return fail(again ? ErrorCode::unavailable : ErrorCode::internal, where + detail);
}

}  // namespace hearth::blob
