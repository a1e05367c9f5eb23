// The starts under way: each is served by the bundle of its profile, or by what its own files say it will read,
// recorded for the next one, and traced.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "mount/bundle_stream.hpp"
#include "mount/cached_layer.hpp"
#include "mount/expected_pages.hpp"
#include "mount/fetch_event.hpp"
#include "mount/fetcher.hpp"
#include "mount/message.hpp"
#include "mount/profile_writer.hpp"
#include "mount/recorder.hpp"
#include "mount/start_prefetch.hpp"
#include "mount/start_trace.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

namespace hearth::mount {

struct StartsOptions {
  std::shared_ptr<blob::ObjectStore> store;
  Fetcher* fetcher = nullptr;         // borrowed
  ExpectedPages* expected = nullptr;  // borrowed; the fetcher's gate
  std::filesystem::path directory;    // for drafts of bundles
  MetricRegistry* metrics = nullptr;  // borrowed; null: none
};

/// Whether a layer was mounted for this very start: then all that it reads is asked of us, and can be recorded. Any
/// start is traced: what it waits for, if not what it finds.
enum class MountedFor { this_start, an_earlier_one };

/// Thread-safe. A question without a profile is no start.
class Starts {
 public:
  explicit Starts(StartsOptions options);

  /// Begins to look for the bundle while the caller opens the layer; null when the question names no profile.
  std::unique_ptr<BundleStream> look(const LayerQuestion& question, bool known) const;
  /// The layer is about to be read. Returns whether the start is recorded: reads that find their pages present are to
  /// be told, too, until on_recorded is called for the layer.
  bool begin(const LayerQuestion& question, std::shared_ptr<CachedLayer> layer, std::unique_ptr<BundleStream> bundle,
             MountedFor mounted_for);
  /// The recording of a start of the layer is over. Replaces an earlier call; set before the first begin().
  void on_recorded(std::function<void(const CachedLayer&)> call) { on_recorded_ = std::move(call); }

  /// A read that found its pages present.
  void hit(const Digest& pack, const PageRange& range);
  /// A read that begins to wait: now, so that what follows it can be fetched with it.
  void asked(const Digest& pack, const PageRange& range);
  /// The same read, which waited from `asked` to `answered`.
  void waited(const Digest& pack, const PageRange& range, MonoTime asked, MonoTime answered);
  /// From the fetcher's observer.
  void fetched(const FetchEvent& event);

  /// The start is over: it is learnt from, in the background, and traced no longer. Nothing happens when there was
  /// none.
  void recorded(const LayerQuestion& question);
  /// Ends recordings that nobody ended in time. To be called now and then.
  void end_overdue(MonoTime now);
  /// JSON of the last such start; not_found when there was none.
  Result<std::string> trace(const LayerQuestion& question) const;

 private:
  struct Start {
    std::string profile;
    std::shared_ptr<CachedLayer> layer;
    std::unordered_set<Digest> packs;  // of the layer
    std::unique_ptr<BundleStream> bundle;
    bool is_over = false;                // under the lock
    std::shared_ptr<Recorder> recorder;  // under the lock; empty: not recorded, or over
    std::unique_ptr<StartTrace> trace;
    MonoTime began;
    std::shared_ptr<StartPrefetch> prefetch;  // as the recorder; looks at the bundle, so it goes before that
  };
  using Key = std::pair<std::string, std::string>;  // hex of the layer's digest, profile

  /// A start under way, as it was at that moment.
  struct Active {
    std::shared_ptr<Start> start;
    std::shared_ptr<Recorder> recorder;       // null when it is traced alone
    std::shared_ptr<StartPrefetch> prefetch;  // as the recorder
  };
  std::vector<Active> active() const;
  /// Those that read this pack.
  std::vector<Active> readers_of(const Digest& pack) const;
  void end(Start& start, bool learn);
  void forget_old();

  const StartsOptions options_;
  std::function<void(const CachedLayer&)> on_recorded_;
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<Start>> starts_;  // the last one of each profile, bounded
  ProfileWriter writer_;                          // last: its thread uses the rest
};

}  // namespace hearth::mount
