// Where the bytes of chunks come from that a node's disks do not have: peers, a mirror, the object store.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "image/store_scope.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// demand: a reader waits. prefetch: nobody does yet.
enum class Urgency { demand, prefetch };
std::string_view to_string(Urgency urgency);

/// Neighbouring chunks of one pack, to be read at once.
struct ChunkRead {
  struct Piece {
    uint64_t plain_offset = 0;
    uint32_t length = 0;
  };
  Digest pack;
  uint64_t stored_offset = 0;  // one range of the pack object that holds all of the chunks
  uint64_t stored_length = 0;
  std::span<const Piece> pieces;              // the chunks, for those who have them unpacked
  std::span<const image::StoreScope> scopes;  // that may be asked for the pack, at least one
  uint32_t round = 0;  // > 0: what this tier gave for these bytes was wrong so often: try another source
  Urgency urgency = Urgency::demand;
  Deadline deadline;
  std::stop_token stop;
};

struct ChunkBytes {
  enum class Form {
    stored,  // the range of the pack object
    plain,   // the pieces, one after another
  };
  Form form = Form::stored;
  std::string bytes;
  std::string_view source{};       // one of ChunkTier::sources(); empty: the tier's name
  std::function<void()> refute{};  // called, from any thread, when some of the bytes were found wrong; may be empty
};

/// Thread-safe; blocks. What it gives is verified by the caller, so a tier need not be trusted.
class ChunkTier {
 public:
  virtual ~ChunkTier() = default;
  /// For metrics and traces: "store", "mirror", "peer".
  virtual std::string_view name() const = 0;
  /// What may be named as the source of its bytes.
  virtual std::vector<std::string_view> sources() const { return {name()}; }
  /// not_found: this tier does not have them. unavailable, deadline_exceeded: it could not be asked. corrupt: it has
  /// something else. In any case the next tier is asked.
  virtual Result<ChunkBytes> read(const ChunkRead& what) = 0;
};

}  // namespace hearth::mount
