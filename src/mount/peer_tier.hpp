// The tier before the object store: other nodes that have the content on their disks (--peer; docs/formats/peer.md).
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "blob/bandwidth_limiter.hpp"
#include "blob/breaker.hpp"
#include "blob/hedge_policy.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/peer_message.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

inline constexpr size_t kPeersMax = 64;

struct PeerTierOptions {
  std::vector<std::string> peers;  // HOST:PORT each, at most kPeersMax; a node's own may be among them
  PeerSecret secret;
  ChunkTier* store = nullptr;  // borrowed: asked as well when a peer takes long
  uint64_t node = 0;           // of our own server: who answers with it is ourselves. 0: we have none

  Duration connect_timeout = milliseconds(300);
  Duration stall_timeout = seconds(1);                  // without a byte
  Duration read_time = seconds(5);                      // for all bytes of a read; then the store is asked
  Duration have_wait = milliseconds(100);               // a reader's, for the first answers about a pack
  Duration first_patience = milliseconds(250);          // before the store is asked as well, until enough is known
  Duration remembered = seconds(60);                    // that a peer has all of a pack
  Duration remembered_part = seconds(10);               // … a part of it
  Duration remembered_none = seconds(5);                // … nothing of it
  Duration remembered_wrong = std::chrono::minutes(5);  // that what it gave of a pack was wrong
  blob::HedgeLimits hedge{};
  blob::BreakerLimits breaker{};

  blob::BandwidthLimiter* prefetch_limit = nullptr;  // borrowed; null: as fast as it goes
  MetricRegistry* metrics = nullptr;                 // borrowed; null: none
};

/// Which peers have a pack is asked in the background, many packs in one question, when the pack is first read; that
/// one read waits for the answers a moment. Of those that have it, the one with the fewest reads under way is read
/// from. When it takes longer than nearly all recent reads of that size, the store is read at the same time, within a
/// budget (HedgePolicy), and the first to finish wins. A peer that keeps failing is left alone for a while (Breaker).
class PeerTier final : public ChunkTier {
 public:
  /// invalid_argument for an address that is none.
  static Result<std::unique_ptr<PeerTier>> open(PeerTierOptions options);
  /// No read may be under way.
  ~PeerTier() override;

  std::string_view name() const override { return kPeer; }
  std::vector<std::string_view> sources() const override;
  /// not_found when no peer has all of it, and after wrong bytes (what.round).
  Result<ChunkBytes> read(const ChunkRead& what) override;

 private:
  static constexpr std::string_view kPeer = "peer";
  struct State;
  explicit PeerTier(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace hearth::mount
