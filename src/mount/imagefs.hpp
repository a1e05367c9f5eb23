// imagefs: the process that makes layers appear as directories. Threads and blocking calls, one thread a connection.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "mount/completion.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hearth::mount {

struct Config {
  std::filesystem::path socket;                   // RUN/imagefs.sock (SEQPACKET, 0600)
  std::filesystem::path dir;                      // DATA/imagefs: owned by imagefs alone
  std::filesystem::path holder;                   // RUN/holder.sock; lazy back ends need it
  std::string store;                              // object store: a directory or a URL
  std::string backend = "auto";                   // see backends.hpp
  std::vector<std::filesystem::path> cache_dirs;  // where content is kept; empty: DIR/cache
  uint64_t cache_bytes = 0;                       // bound of all of it; 0: only free space bounds it
  uint64_t cache_min_free_bytes = 0;              // to be left free on each disk; 0: a tenth of it
  Duration read_deadline = seconds(60);           // after which a read that cannot be served fails with EIO
  std::string pack_url;                           // a CDN or HTTP cache asked for packs before the store; empty: none
  std::filesystem::path pack_url_secret;          // signs its URLs; empty: they are not signed
  std::string peer_listen;                        // HOST:PORT where other nodes are given what we have; empty: nowhere
  std::vector<std::string> peers;                 // HOST:PORT of nodes that are asked for content before the store
  std::filesystem::path peer_secret;              // that all of them share; needed with either
  uint64_t prefetch_bytes_per_second = 0;         // of what no reader waits for; 0: as fast as it goes
  Completion complete = Completion::mounted;
  Duration scrub_every = std::chrono::hours(24);  // complete content is read again from its disk and compared
};

/// Serves until SIGTERM or SIGINT, then returns. Errors: the socket is taken, not root, unknown back end, no store.
Result<> serve(const Config& config);

}  // namespace hearth::mount
