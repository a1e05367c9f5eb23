// Which peers have which packs, and which of them is worth asking now.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "blob/breaker.hpp"
#include "blob/http_client.hpp"
#include "mount/peer_message.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

struct PeerDirectoryOptions {
  std::vector<std::string> peers;  // HOST:PORT each
  uint64_t node = 0;               // the peer that answers with it is ourselves
  Duration have_wait = milliseconds(100);
  Duration remembered = seconds(60);
  Duration remembered_part = seconds(10);
  Duration remembered_none = seconds(5);
  Duration remembered_wrong = std::chrono::minutes(5);
  blob::BreakerLimits breaker{};
};

/// How a read of a peer ended.
enum class PeerOutcome {
  gave,
  absent,   // it does not have these bytes now
  busy,     // it is there, and has others to serve
  failed,   // not reached, too slow, or it does not know us
  nothing,  // the reader gave up, or had the bytes already
};

/// Thread-safe. A thread a peer asks it what it has; while it waits for an answer, further questions gather and go
/// together.
class PeerDirectory {
 public:
  /// Borrows both.
  PeerDirectory(PeerDirectoryOptions options, blob::HttpClient& client, const PeerSecret& secret);
  ~PeerDirectory();
  PeerDirectory(const PeerDirectory&) = delete;
  PeerDirectory& operator=(const PeerDirectory&) = delete;

  /// The number of the peer to read from: has the pack, is not left alone, and has the fewest reads under way. The
  /// first one to ask for a pack waits for answers, at most have_wait. Who gets a number reports what came of it.
  std::optional<size_t> choose(const Digest& pack, const std::stop_token& stop);
  void report(size_t peer, const Digest& pack, PeerOutcome outcome);
  /// The store was faster. The read is still to be reported, when it has ended.
  void overtaken(size_t peer);
  /// What the peer gave of the pack was wrong: others are asked for it from here on.
  void refute(size_t peer, const Digest& pack);

  /// Sends a signed question. `reply_max_bytes`: of its answer.
  Result<blob::HttpReply> ask(size_t peer, std::string_view path, std::string_view body, uint64_t reply_max_bytes,
                              const blob::Patience& patience) const;

 private:
  struct Known {
    PeerHas has = PeerHas::none;
    bool answered = false;  // ever
    bool asked = false;     // an answer is on its way
    MonoTime until{};       // then it is asked again; what is known is believed meanwhile
  };
  struct Peer {
    std::string address;
    blob::Breaker breaker;
    bool is_self = false;
    int in_flight = 0;
    MonoTime busy_until{};
    std::unordered_map<Digest, Known> known{};
    std::vector<Digest> wanted{};
    std::condition_variable_any wake{};
    std::jthread asker{};
  };

  void want(const Digest& pack, MonoTime now);
  std::optional<size_t> best(const Digest& pack, MonoTime now) const;
  bool awaits_first_answer(const Digest& pack) const;
  void remember(Peer& peer, const Digest& pack, PeerHas has, Duration time);
  void failed(Peer& peer, const Error& error);
  void keep_asking(size_t number, const std::stop_token& stop);
  Result<PeerHaveAnswer> ask_have(size_t number, const std::vector<Digest>& packs, const std::stop_token& stop) const;

  const PeerDirectoryOptions options_;
  blob::HttpClient& client_;
  const PeerSecret& secret_;
  mutable std::mutex mutex_;
  std::condition_variable_any answered_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace hearth::mount
