// Creates objects in GCS, each exactly once.
#pragma once

#include "base/result.hpp"
#include "blob/gcs_session.hpp"
#include "blob/object_store.hpp"

#include <string>

namespace hearth::blob {

/// One object to be created, in one request however large it is: a resumable session would save sending a pack's few
/// dozen MiB again after a cut, but emulators that forget its condition could not hold us to create-if-absent.
/// Blocking; used once.
class GcsUpload {
 public:
  /// `body` is borrowed for the upload's life.
  GcsUpload(GcsSession& session, std::string object, HttpBody body);

  Result<Created> run();

 private:
  Result<Created> whose();

  GcsSession& session_;
  const std::string object_;
  const HttpBody body_;
  const std::string writer_;
};

}  // namespace hearth::blob
