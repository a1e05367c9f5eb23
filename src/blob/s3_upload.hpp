// Creates objects in S3, whole or in parts, each exactly once.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "blob/s3_session.hpp"

#include <cstdint>
#include <string>

namespace hearth::blob {

/// One object to be created. Blocking; used once.
class S3Upload {
 public:
  /// `body` is borrowed for the upload's life.
  S3Upload(S3Session& session, std::string object, HttpBody body);

  Result<Created> run();

  static constexpr uint64_t kWholeMaxBytes = uint64_t{32} << 20;  // larger ones go in parts

 private:
  Result<Created> whole();
  Result<Created> in_parts();
  Result<std::string> begin();
  Result<std::string> send_part(const std::string& upload_id, uint64_t number);
  Result<std::string> send_parts(const std::string& upload_id);  // the document that completes the upload
  Result<Created> complete(const std::string& upload_id, const std::string& document);
  void abandon(const std::string& upload_id);
  Result<bool> exists();
  /// Whether what is there is ours: an earlier attempt took effect, but its answer was lost.
  Result<Created> whose();

  S3Session& session_;
  const std::string object_;
  const HttpBody body_;
  const std::string writer_;
  uint64_t part_bytes_;
};

}  // namespace hearth::blob
