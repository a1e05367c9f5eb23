// Streams the bundle of a layer's profile into the node's cache, ahead of the reads of a start.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/bundle.hpp"
#include "image/profile.hpp"
#include "mount/cached_layer.hpp"
#include "mount/expected_pages.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace hearth::mount {

/// Gives bytes of an object in order, as they come; a sink's error ends it. Blocks; ends soon after a stop with
/// `cancelled`.
using ObjectStream =
    std::function<Result<>(const std::string& key, const blob::ByteRange& range,
                           const std::function<Result<>(std::string_view)>& sink, const std::stop_token& stop)>;

/// As the store gives it: over one connection, going on where a cut one ended.
ObjectStream stream_of(std::shared_ptr<blob::ObjectStore> store);

struct BundleStreamRequest {
  std::shared_ptr<blob::ObjectStore> store;  // for the profile
  ObjectStream stream;                       // for the bundle
  std::string workspace;
  Digest layer;
  std::string profile;       // key
  bool known_layer = false;  // its content may be on disk: kFirstBytes are received, and then the rest if it is
  ExpectedPages* expected = nullptr;  // borrowed; where demand reads learn what is coming
  MetricRegistry* metrics = nullptr;  // borrowed; null: none
};

/// One layer, one start. It looks for the profile as soon as it is made, while the caller still fetches the index, and
/// begins to receive; with attach() it begins to store. Two threads. Memory: kQueuedBytes received and not stored yet,
/// and what a BundleDecoder takes. Trouble is logged and counted, never an error of the start: reads fetch for
/// themselves what does not come.
class BundleStream {
 public:
  static constexpr uint64_t kQueuedBytes = uint64_t{16} << 20;
  /// Where the head of a bundle ends before, nearly always.
  static constexpr uint64_t kFirstBytes = uint64_t{256} << 10;
  /// A bundle of which all but so small a share is on disk already is not streamed: demand brings the rest.
  static constexpr double kWorthStreaming = 0.02;

  explicit BundleStream(BundleStreamRequest request);
  /// Gives up what has not come yet.
  ~BundleStream();
  BundleStream(const BundleStream&) = delete;
  BundleStream& operator=(const BundleStream&) = delete;

  /// Once, with the layer that was asked for: where pages are stored.
  void attach(std::shared_ptr<CachedLayer> layer);

  enum class Outcome {
    streaming,   // or still looking for the profile
    no_profile,  // there is none, or none with a bundle
    not_needed,  // nearly all of it was on disk
    complete,    // all of it was stored
    given_up,    // the layer went away first
    failed,
  };
  struct Status {
    Outcome outcome = Outcome::streaming;
    uint64_t stored_bytes = 0;    // plain, that were not present before
    uint64_t received_bytes = 0;  // of the object
    std::optional<image::Profile> profile;
    std::shared_ptr<const image::PageRuns> runs;  // of the bundle; null until its head has come
    std::string error;                            // failed: why
  };
  Status status() const;
  /// Returns when the outcome is known, or the deadline has passed.
  Status wait(Deadline deadline) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string_view to_string(BundleStream::Outcome outcome);

}  // namespace hearth::mount
