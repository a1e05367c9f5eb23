#include "blob/s3_upload.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace hearth::blob {

namespace {

constexpr uint64_t kPartMinBytes = uint64_t{16} << 20;
constexpr uint64_t kPartsMax = 10'000;  // of S3
constexpr uint64_t kPartsAtOnce = 4;
constexpr const char* kWriterHeader = "x-amz-meta-hearth-writer";
constexpr uint64_t kMiB = uint64_t{1} << 20;

std::pair<std::string, std::string> if_absent() {
  return {"if-none-match", "*"};
}

}  // namespace

S3Upload::S3Upload(S3Session& session, std::string object, HttpBody body)
    : session_(session), object_(std::move(object)), body_(body), writer_(random_id()) {
  const uint64_t least = (body_.size() + kPartsMax - 1) / kPartsMax;
  part_bytes_ = std::max(kPartMinBytes, (least + kMiB - 1) / kMiB * kMiB);
}

Result<Created> S3Upload::run() {
  return body_.size() <= kWholeMaxBytes ? whole() : in_parts();
}

Result<Created> S3Upload::whole() {
  TRY(const RemoteAnswer answer,
      session_.call(
          {.method = "PUT", .object = object_, .headers = {if_absent(), {kWriterHeader, writer_}}, .body = body_}, {}));
  if (answer.reply.ok()) return Created::yes;
  if (answer.reply.status == 412) return answer.earlier_attempt_unsure ? whose() : Result<Created>(Created::no);
  return session_.failed("create " + object_, answer.reply);
}

Result<Created> S3Upload::in_parts() {
  TRY(const bool there, exists());
  if (there) return Created::no;
  TRY(const std::string upload_id, begin());
  auto document = send_parts(upload_id);
  if (!document) {
    abandon(upload_id);
    return Unexpected(std::move(document).error());
  }
  auto created = complete(upload_id, *document);
  if (!created || *created == Created::no) abandon(upload_id);
  return created;
}

Result<std::string> S3Upload::begin() {
  TRY(const RemoteAnswer answer, session_.call({.method = "POST",
                                                .object = object_,
                                                .query = {{"uploads", ""}},
                                                .headers = {{kWriterHeader, writer_}},
                                                .body = HttpBody{}},
                                               {}));
  if (!answer.reply.ok()) return session_.failed("begin to upload " + object_, answer.reply);
  return parse_s3_upload_id(answer.reply.body);
}

Result<std::string> S3Upload::send_part(const std::string& upload_id, uint64_t number) {
  const uint64_t offset = (number - 1) * part_bytes_;
  const uint64_t length = std::min(part_bytes_, body_.size() - offset);
  const HttpBody part = body_.fd < 0 ? HttpBody{.bytes = body_.bytes.substr(offset, length)}
                                     : HttpBody{.fd = body_.fd, .offset = body_.offset + offset, .length = length};
  TRY(const RemoteAnswer answer,
      session_.call({.method = "PUT",
                     .object = object_,
                     .query = {{"partNumber", std::to_string(number)}, {"uploadId", upload_id}},
                     .body = part},
                    {}));
  if (!answer.reply.ok()) return session_.failed("upload a part of " + object_, answer.reply);
  std::string etag(answer.reply.header("etag"));
  if (etag.empty()) return fail(ErrorCode::corrupt, "the store took a part of " + object_ + " without naming it");
  return etag;
}

Result<std::string> S3Upload::send_parts(const std::string& upload_id) {
  const uint64_t count = (body_.size() + part_bytes_ - 1) / part_bytes_;
  std::vector<std::string> etags(count);
  std::atomic<uint64_t> next{1};
  std::mutex mutex;
  std::optional<Error> error;
  const auto work = [&] {
    for (uint64_t number = next++; number <= count; number = next++) {
      auto etag = send_part(upload_id, number);
      if (etag) {
        etags[number - 1] = std::move(*etag);
        continue;
      }
      const std::lock_guard lock(mutex);
      if (!error) error = std::move(etag).error();
      next = count + 1;
      return;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 1; i < std::min(count, kPartsAtOnce); ++i) threads.emplace_back(work);
    work();
  }
  if (error) return Unexpected(std::move(*error));
  std::string document = "<CompleteMultipartUpload>";
  for (uint64_t i = 0; i < count; ++i) {
    document += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" + etags[i] + "</ETag></Part>";
  }
  return document + "</CompleteMultipartUpload>";
}

Result<Created> S3Upload::complete(const std::string& upload_id, const std::string& document) {
  // Servers that do not know the condition on this request would replace the object: look as late as possible.
  TRY(const bool there, exists());
  if (there) return Created::no;
  TRY(const RemoteAnswer answer, session_.call({.method = "POST",
                                                .object = object_,
                                                .query = {{"uploadId", upload_id}},
                                                .headers = {if_absent()},
                                                .body = HttpBody{.bytes = document}},
                                               {}));
  const std::string code = parse_s3_error(answer.reply.body).code;
  if (answer.reply.ok() && code.empty()) return Created::yes;
  const bool refused = answer.reply.status == 412 || code == "PreconditionFailed";
  if (answer.earlier_attempt_unsure && (refused || code == "NoSuchUpload")) return whose();
  if (refused) return Created::no;
  return session_.failed("complete the upload of " + object_, answer.reply);
}

void S3Upload::abandon(const std::string& upload_id) {
  const auto answer = session_.call({.method = "DELETE", .object = object_, .query = {{"uploadId", upload_id}}},
                                    {.deadline = Deadline::after(mono_now(), seconds(5))});
  if (answer && (answer->reply.ok() || answer->reply.status == 404)) return;
  log_warning("an unfinished upload stays in the bucket until its rules remove it", {{"object", object_}});
}

Result<bool> S3Upload::exists() {
  TRY(const RemoteAnswer answer, session_.call({.method = "HEAD", .object = object_}, {}));
  if (answer.reply.status == 404) return false;
  if (!answer.reply.ok()) return session_.failed("look up " + object_, answer.reply);
  return true;
}

Result<Created> S3Upload::whose() {
  TRY(const RemoteAnswer answer, session_.call({.method = "HEAD", .object = object_}, {}));
  if (!answer.reply.ok()) return session_.failed("look up " + object_, answer.reply);
  return answer.reply.header(kWriterHeader) == writer_ ? Created::yes : Created::no;
}

}  // namespace hearth::blob
