#include "blob/s3_session.hpp"

#include "base/digest.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

namespace hearth::blob {

namespace {

constexpr size_t kHashPieceBytes = 256 * 1024;
constexpr std::array<std::string_view, 4> kTooOld = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired",
                                                     "InvalidAccessKeyId"};
constexpr std::array<std::string_view, 6> kAgain = {"SlowDown",       "InternalError",    "ServiceUnavailable",
                                                    "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"};

bool is_one_of(std::string_view code, std::span<const std::string_view> codes) {
  return std::ranges::find(codes, code) != codes.end();
}

Result<std::string> sha256_of(const HttpBody& body) {
  if (body.fd < 0) return Digest::of(body.bytes).hex();
  DigestHasher hasher;
  std::string buffer(kHashPieceBytes, '\0');
  for (uint64_t done = 0; done < body.length;) {
    const size_t wanted = std::min<uint64_t>(buffer.size(), body.length - done);
    const ssize_t got = ::pread(body.fd, buffer.data(), wanted, static_cast<off_t>(body.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read the file to upload", errno);
    if (got == 0) return fail(ErrorCode::corrupt, "the file to upload became shorter");
    hasher.update(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
    done += static_cast<uint64_t>(got);
  }
  return hasher.finish().hex();
}

}  // namespace

S3Session::S3Session(S3Location location, StoreEnvironment environment)
    : location_(std::move(location)),
      client_({.connect_timeout = location_.timeouts.connect,
               .stall_timeout = location_.timeouts.stall,
               .ca_bundle = environment.get_or("AWS_CA_BUNDLE", "")}),
      credentials_([options = AwsCredentialOptions{.environment = std::move(environment),
                                                   .profile = location_.profile,
                                                   .region = location_.region}] { return fetch_aws_keys(options); }) {}

Result<HttpRequest> S3Session::sign(const S3Request& request, const std::string& payload_sha256) {
  const SigningRequest to_sign{.method = request.method,
                               .host = location_.host(),
                               .path = location_.path_of(request.object),
                               .query = request.query,
                               .headers = request.headers,
                               .payload_sha256 = payload_sha256};
  const std::string query = canonical_query(request.query);
  HttpRequest http{.method = request.method,
                   .url = location_.scheme() + to_sign.host + to_sign.path + (query.empty() ? "" : "?" + query),
                   .body = request.body};
  if (location_.anonymous) {
    for (const auto& [name, value] : request.headers) http.headers.push_back(name + ": " + value);
    return http;
  }
  TRY(const auto keys, credentials_.get());
  {
    const std::lock_guard lock(mutex_);
    last_used_ = keys;
  }
  http.headers = sign_v4(to_sign, {.region = location_.region, .service = "s3"}, *keys, wall_now());
  return http;
}

Verdict S3Session::judge(const HttpReply& reply) const {
  if (reply.status == 400 || reply.status == 401 || reply.status == 403) {
    // A HEAD says no more than that; then it is worth one look whether there are newer keys.
    const std::string code = parse_s3_error(reply.body).code;
    if (is_one_of(code, kTooOld) || (reply.body.empty() && !location_.anonymous)) return Verdict::renew;
  }
  const bool may_say_more = reply.status == 200 || reply.status == 400 || reply.status == 409;
  if (may_say_more && reply.body.size() < 4096 && is_one_of(parse_s3_error(reply.body).code, kAgain)) {
    return Verdict::again;
  }
  return verdict_of_status(reply.status);
}

void S3Session::renew() {
  std::shared_ptr<const AwsKeys> refused;
  {
    const std::lock_guard lock(mutex_);
    refused = last_used_;
  }
  if (refused) credentials_.drop(refused);
}

Result<RemoteAnswer> S3Session::call(const S3Request& request, const Patience& patience) {
  std::string hash(kEmptySha256);
  if (request.body) {
    TRY(hash, sha256_of(*request.body));
  }
  return call_remote(client_,
                     {.make = [this, &request, &hash] { return sign(request, hash); },
                      .judge = [this](const HttpReply& reply) { return judge(reply); },
                      .renew = [this] { renew(); }},
                     patience);
}

Result<> S3Session::read(const std::string& object, ByteRange range, const ByteSink& sink, const Patience& patience) {
  const RemoteRead read{.make =
                            [this, &object](ByteRange part) {
                              S3Request request{.object = object};
                              const bool whole = part.offset == 0 && part.length == ByteRange::kToEnd;
                              if (!whole) request.headers.emplace_back("range", range_header(part));
                              return sign(request, std::string(kEmptySha256));
                            },
                        .judge = [this](const HttpReply& reply) { return judge(reply); },
                        .renew = [this] { renew(); },
                        .error = [this, &object](const HttpReply& reply) { return failed("read " + object, reply); },
                        .name = "object " + object};
  return read_remote(client_, read, range, sink, patience);
}

std::string S3Session::place() const {
  return "s3://" + location_.bucket + " at " + location_.endpoint;
}

namespace {

struct Meaning {
  std::string_view code;
  ErrorCode error;
  std::string_view advice;
};

constexpr std::array<Meaning, 12> kMeanings = {{
    {"NoSuchBucket", ErrorCode::unavailable, "the bucket does not exist: create it, or correct --store"},
    {"NoSuchKey", ErrorCode::not_found, "no such object"},
    {"InvalidRange", ErrorCode::corrupt, "the object is shorter than that"},
    {"AccessDenied", ErrorCode::denied,
     "not allowed: the key needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the "
     "bucket's objects and s3:ListBucket on the bucket"},
    {"AllAccessDisabled", ErrorCode::denied, "access to the bucket is switched off"},
    {"InvalidAccessKeyId", ErrorCode::denied,
     "the access key is unknown there: check AWS_ACCESS_KEY_ID or the profile"},
    {"SignatureDoesNotMatch", ErrorCode::denied,
     "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or the profile"},
    {"ExpiredToken", ErrorCode::denied, "the credentials are too old and there are no newer ones: renew them"},
    {"RequestTimeTooSkewed", ErrorCode::denied, "this machine's clock is wrong: set it"},
    {"AuthorizationHeaderMalformed", ErrorCode::invalid_argument, "wrong region: add ?region=… to --store"},
    {"PermanentRedirect", ErrorCode::invalid_argument, "wrong region or endpoint: add ?region=… to --store"},
    {"QuotaExceeded", ErrorCode::exhausted, "the bucket's quota is used up: raise it, or remove models"},
}};

ErrorCode code_of_status(int status) {
  if (status == 404) return ErrorCode::not_found;
  if (status == 401 || status == 403) return ErrorCode::denied;
  if (status == 416) return ErrorCode::corrupt;
  if (status == 507) return ErrorCode::exhausted;
  if (verdict_of_status(status) == Verdict::again) return ErrorCode::unavailable;
  return ErrorCode::internal;
}

}  // namespace

Unexpected S3Session::failed(const std::string& what, const HttpReply& reply) const {
  const S3ErrorAnswer error = parse_s3_error(reply.body);
  const std::string where = what + " in " + place() + ": ";
  std::string detail = error.code.empty() ? "status " + std::to_string(reply.status) : error.code;
  if (!error.message.empty()) detail += ", " + error.message;
  std::string region = error.region.empty() ? std::string(reply.header("x-amz-bucket-region")) : error.region;
  if (region == location_.region) region.clear();
  if (!region.empty()) {
    return fail(ErrorCode::invalid_argument,
                where + "the bucket is in the region " + region + ": add ?region=" + region + " to --store");
  }
  const auto meaning = std::ranges::find(kMeanings, error.code, &Meaning::code);
  if (meaning != kMeanings.end())
    return fail(meaning->error, where + std::string(meaning->advice) + " (" + detail + ")");
  return fail(code_of_status(reply.status), where + detail);
}

}  // namespace hearth::blob
