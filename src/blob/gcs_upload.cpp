#include "blob/gcs_upload.hpp"

#include "base/random_id.hpp"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace hearth::blob {

namespace {

constexpr uint64_t kPartBytes = uint64_t{16} << 20;  // a multiple of 256 KiB, as GCS wants
constexpr int kIncomplete = 308;
constexpr int kPartsWithoutProgressMax = 5;

Result<std::string> content_of(const HttpBody& body) {
  if (body.fd < 0) return std::string(body.bytes);
  std::string bytes(body.length, '\0');
  for (uint64_t done = 0; done < body.length;) {
    const ssize_t got =
        ::pread(body.fd, bytes.data() + done, body.length - done, static_cast<off_t>(body.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read the file to upload", errno);
    if (got == 0) return fail(ErrorCode::corrupt, "the file to upload became shorter");
    done += static_cast<uint64_t>(got);
  }
  return bytes;
}

/// "bytes=0-1048575" of a 308: how many bytes the session has.
uint64_t received(const HttpReply& reply) {
  const std::string_view range = reply.header("range");
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return 0;
  uint64_t last = 0;
  const auto [end, error] = std::from_chars(range.data() + dash + 1, range.data() + range.size(), last);
  return error == std::errc() ? last + 1 : 0;
}

}  // namespace

GcsUpload::GcsUpload(GcsSession& session, std::string object, HttpBody body)
    : session_(session), object_(std::move(object)), body_(body), writer_(random_id()) {}

Result<Created> GcsUpload::run() {
  return body_.size() <= kWholeMaxBytes ? whole() : in_parts();
}

std::string GcsUpload::metadata() const {
  return nlohmann::json{{"metadata", {{"hearth-writer", writer_}}}}.dump();
}

Result<Created> GcsUpload::whole() {
  TRY(const std::string content, content_of(body_));
  const std::string boundary = "hearth-" + random_id(24);
  const std::string related = "--" + boundary + "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" +
                              metadata() + "\r\n--" + boundary + "\r\nContent-Type: application/octet-stream\r\n\r\n" +
                              content + "\r\n--" + boundary + "--\r\n";
  TRY(const RemoteAnswer answer,
      session_.call({.method = "POST",
                     .url = session_.upload_url(
                         {{"uploadType", "multipart"}, {"ifGenerationMatch", "0"}, {"name", object_}}),
                     .headers = {"Content-Type: multipart/related; boundary=" + boundary},
                     .body = HttpBody{.bytes = related}},
                    {}));
  if (answer.reply.ok()) return Created::yes;
  if (answer.reply.status == 412) return answer.earlier_attempt_unsure ? whose() : Result<Created>(Created::no);
  return session_.failed("create " + object_, answer.reply);
}

Result<Created> GcsUpload::in_parts() {
  const std::string description = metadata();
  TRY(const RemoteAnswer begun,
      session_.call(
          {.method = "POST",
           .url = session_.upload_url({{"uploadType", "resumable"}, {"ifGenerationMatch", "0"}, {"name", object_}}),
           .headers = {"Content-Type: application/json; charset=UTF-8",
                       "X-Upload-Content-Type: application/octet-stream",
                       "X-Upload-Content-Length: " + std::to_string(body_.size())},
           .body = HttpBody{.bytes = description}},
          {}));
  if (begun.reply.status == 412) return Created::no;
  if (!begun.reply.ok()) return session_.failed("begin to upload " + object_, begun.reply);
  const std::string url(begun.reply.header("location"));
  if (url.empty()) return fail(ErrorCode::corrupt, "the store began an upload of " + object_ + " without saying where");
  // The session knows what it has: a part whose answer was lost is sent again without harm.
  uint64_t sent = 0;
  for (int stuck = 0; stuck < kPartsWithoutProgressMax;) {
    const uint64_t length = std::min(kPartBytes, body_.size() - sent);
    const HttpBody part = body_.fd < 0 ? HttpBody{.bytes = body_.bytes.substr(sent, length)}
                                       : HttpBody{.fd = body_.fd, .offset = body_.offset + sent, .length = length};
    TRY(const RemoteAnswer answer,
        session_.call({.method = "PUT",
                       .url = url,
                       .headers = {"Content-Range: bytes " + std::to_string(sent) + "-" +
                                   std::to_string(sent + length - 1) + "/" + std::to_string(body_.size())},
                       .body = part},
                      {}));
    if (answer.reply.ok()) return Created::yes;
    if (answer.reply.status == 412) return answer.earlier_attempt_unsure ? whose() : Result<Created>(Created::no);
    if (answer.reply.status != kIncomplete) return session_.failed("upload a part of " + object_, answer.reply);
    const uint64_t has = received(answer.reply);
    stuck = has > sent ? 0 : stuck + 1;
    sent = std::min(has, body_.size() - 1);
  }
  return fail(ErrorCode::unavailable, "the upload of " + object_ + " makes no progress");
}

/// Whether what is there is ours: an earlier attempt took effect, but its answer was lost.
Result<Created> GcsUpload::whose() {
  TRY(const RemoteAnswer answer, session_.call({.url = session_.url_of(object_, {{"fields", "size,metadata"}})}, {}));
  if (!answer.reply.ok()) return session_.failed("look up " + object_, answer.reply);
  TRY(const GcsObject object, parse_gcs_object(answer.reply.body));
  return object.writer == writer_ ? Created::yes : Created::no;
}

}  // namespace hearth::blob
