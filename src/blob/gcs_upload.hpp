// Creates objects in GCS, in one request or by a resumable session, each exactly once.
#pragma once

#include "base/result.hpp"
#include "blob/gcs_session.hpp"
#include "blob/object_store.hpp"

#include <cstdint>
#include <string>

namespace hearth::blob {

/// One object to be created. Blocking; used once.
class GcsUpload {
 public:
  /// `body` is borrowed for the upload's life.
  GcsUpload(GcsSession& session, std::string object, HttpBody body);

  Result<Created> run();

  static constexpr uint64_t kWholeMaxBytes = uint64_t{8} << 20;  // larger ones go by a session

 private:
  std::string metadata() const;
  Result<Created> whole();
  Result<Created> in_parts();
  Result<Created> whose();

  GcsSession& session_;
  const std::string object_;
  const HttpBody body_;
  const std::string writer_;
};

}  // namespace hearth::blob
