#include "blob/gcs_upload.hpp"

#include "base/random_id.hpp"

#include <nlohmann/json.hpp>

namespace hearth::blob {

GcsUpload::GcsUpload(GcsSession& session, std::string object, HttpBody body)
    : session_(session), object_(std::move(object)), body_(body), writer_(random_id()) {}

Result<Created> GcsUpload::run() {
  const std::string boundary = "hearth-" + random_id(24);
  const std::string metadata = nlohmann::json{{"metadata", {{"hearth-writer", writer_}}}}.dump();
  const std::string before = "--" + boundary + "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + metadata +
                             "\r\n--" + boundary + "\r\nContent-Type: application/octet-stream\r\n\r\n";
  const std::string after = "\r\n--" + boundary + "--\r\n";
  HttpBody framed = body_;
  framed.before = before;
  framed.after = after;
  const NameValues query = {{"uploadType", "multipart"}, {"ifGenerationMatch", "0"}, {"name", object_}};
  TRY(const RemoteAnswer answer, session_.call({.method = "POST",
                                                .url = session_.upload_url(query),
                                                .headers = {"Content-Type: multipart/related; boundary=" + boundary},
                                                .body = framed},
                                               {}));
  if (answer.reply.ok()) return Created::yes;
  if (answer.reply.status == 412) return answer.earlier_attempt_unsure ? whose() : Result<Created>(Created::no);
  return session_.failed("create " + object_, answer.reply);
}

/// Whether what is there is ours: an earlier attempt took effect, but its answer was lost.
Result<Created> GcsUpload::whose() {
  TRY(const RemoteAnswer answer, session_.call({.url = session_.url_of(object_, {{"fields", "size,metadata"}})}, {}));
  if (!answer.reply.ok()) return session_.failed("look up " + object_, answer.reply);
  TRY(const GcsObject object, parse_gcs_object(answer.reply.body));
  return object.writer == writer_ ? Created::yes : Created::no;
}

}  // namespace hearth::blob
