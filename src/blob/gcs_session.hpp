// Requests to one GCS bucket over the JSON API, repeated where that helps, and what its error answers mean.
#pragma once

#include "blob/gcs_credentials.hpp"
#include "blob/http_client.hpp"
#include "blob/object_store.hpp"
#include "blob/remote_call.hpp"
#include "blob/sigv4.hpp"
#include "blob/store_environment.hpp"
#include "blob/store_url.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// Where a bucket is.
struct GcsLocation {
  std::string bucket;
  std::string prefix;
  std::string endpoint;    // "https://storage.googleapis.com", no '/' at the end
  bool anonymous = false;  // emulators and public buckets
  StoreTimeouts timeouts;

  static Result<GcsLocation> of(std::string_view url, const StoreEnvironment& environment);
};

struct GcsListing {
  std::vector<ObjectInfo> objects;
  std::vector<std::string> prefixes;  // of a listing with a delimiter: "a/b/"
  std::string next_token;             // empty: that was all
};
/// corrupt when it is no listing.
Result<GcsListing> parse_gcs_listing(std::string_view json);

struct GcsObject {
  uint64_t bytes = 0;
  std::string writer;  // of the metadata that Hearth gives its objects
};
Result<GcsObject> parse_gcs_object(std::string_view json);

struct GcsRequest {
  std::string method = "GET";
  std::string url;                   // whole, query included
  std::vector<std::string> headers;  // besides the credentials
  std::optional<HttpBody> body;
};

/// Thread-safe; calls block.
class GcsSession {
 public:
  GcsSession(GcsLocation location, StoreEnvironment environment);

  const GcsLocation& location() const { return location_; }

  /// ENDPOINT/storage/v1/b/BUCKET/o[/NAME][?query], names and query encoded.
  std::string url_of(std::string_view object, const NameValues& query) const;
  /// The same for uploads.
  std::string upload_url(const NameValues& query) const;

  Result<RemoteAnswer> call(const GcsRequest& request, const Patience& patience);
  Result<> read(const std::string& object, ByteRange range, const ByteSink& sink, const Patience& patience);
  Unexpected failed(const std::string& what, const HttpReply& reply) const;

 private:
  Result<HttpRequest> authorise(const GcsRequest& request);
  Verdict judge(const HttpReply& reply) const;
  void renew();

  const GcsLocation location_;
  HttpClient client_;
  GcsToken token_;
  std::mutex mutex_;
  std::shared_ptr<const std::string> last_used_;
};

}  // namespace hearth::blob
