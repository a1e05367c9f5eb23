// imagefs: the process that makes layers appear as directories. Threads and blocking calls, one thread a connection.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace hearth::mount {

struct Config {
  std::filesystem::path socket;  // RUN/imagefs.sock (SEQPACKET, 0600)
  std::filesystem::path dir;     // DATA/imagefs: owned by imagefs alone
  std::string store;             // object store: a directory or a URL
  std::string backend = "unpack";
};

/// Serves until SIGTERM or SIGINT, then returns. Errors: the socket is taken, not root, unknown back end, no store.
Result<> serve(const Config& config);

}  // namespace hearth::mount
