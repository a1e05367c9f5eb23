// Where ranges of objects are read from: a store, or a mirror with a store behind it.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

namespace hearth::blob {

class BandwidthLimiter;

/// Demand: a reader waits for these bytes. Prefetch gets connections only while no demand read wants one.
enum class Priority { demand, prefetch };

/// `origin` goes around mirrors: for bytes that came wrong from one.
enum class Route { nearest, origin };

struct ReadOptions {
  Priority priority = Priority::demand;
  BandwidthLimiter* limiter = nullptr;  // borrowed for the call; null: as fast as it goes
  std::stop_token stop{};               // the read ends soon after, with `cancelled`
  Deadline deadline{};
  Route route = Route::nearest;
  Route* came_by = nullptr;  // borrowed; read() puts `nearest` here when a mirror gave the bytes
};

/// Calls block and are safe from many threads at once. Errors are ObjectStore::get_range's, and cancelled,
/// deadline_exceeded. Bytes are as they were received: who knows their digest checks it.
class RangeSource {
 public:
  virtual ~RangeSource() = default;

  /// Exactly `length` bytes from `offset`; long ranges come over several connections at once.
  virtual Result<std::string> read(std::string_view key, uint64_t offset, uint64_t length,
                                   const ReadOptions& options) = 0;
  /// The same in order, as the bytes come, over one connection: for bundles. Memory stays bounded.
  virtual Result<> stream(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options) = 0;
};

}  // namespace hearth::blob
