// Gives other nodes what this node's disks have (--peer-listen): never at the cost of its own readers.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "mount/disk_cache.hpp"
#include "mount/peer_message.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace hearth::mount {

struct PeerServerOptions {
  std::string listen;  // HOST:PORT; port 0 picks a free one
  PeerSecret secret;
  uint64_t node = 0;  // names us in our answers
  /// Whether the node's own readers wait: then few peers are served. Called from the server's thread: quick.
  std::function<bool()> is_busy = [] { return false; };
  size_t answers_max = 32;      // reads being answered at once; beyond it 503
  size_t answers_max_busy = 2;  // … while our own readers wait
  uint32_t connections_max = 128;
  Duration answer_time = seconds(10);  // who has not taken an answer by then is disconnected
  MetricRegistry* metrics = nullptr;   // borrowed; null: none
};

/// One thread for all sockets, two of low priority that read from disk. Memory: a slice of 256 KiB an answer. Who
/// cannot prove that he has the secret gets 403, whatever he asked.
class PeerServer {
 public:
  /// Serves until it is destroyed. Errors: the address is none, or taken.
  static Result<std::unique_ptr<PeerServer>> start(PeerServerOptions options, std::shared_ptr<DiskCache> cache);
  ~PeerServer();
  PeerServer(const PeerServer&) = delete;
  PeerServer& operator=(const PeerServer&) = delete;

  /// "127.0.0.1:4711".
  const std::string& address() const;

 private:
  struct State;
  explicit PeerServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::mount
