// Learns from recorded starts: merges them into their profiles and writes bundles for the next ones, in the background.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/page_run.hpp"
#include "image/profile.hpp"
#include "mount/cached_layer.hpp"
#include "mount/fetcher.hpp"
#include "mount/recorder.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace hearth::mount {

/// A start that is over.
struct RecordedStart {
  std::shared_ptr<CachedLayer> layer;
  std::string profile;  // key
  StartRecording recording;
  std::shared_ptr<const image::PageRuns> bundle;  // that it was served by; null: none
  WallTime at;
};

/// What became of one.
enum class Learned {
  too_little,  // it read next to nothing: the page cache had it, or something else failed first
  nothing,     // it went as the profile says; not worth an object in the store
  figures,     // a new generation with the old bundle
  bundle,      // a new generation with a new bundle
  outrun,      // another node wrote the generation first
};
std::string_view to_string(Learned learned);

struct ProfileWriterOptions {
  std::shared_ptr<blob::ObjectStore> store;
  Fetcher* fetcher = nullptr;         // borrowed; for what a block in the bundle lacks on disk
  std::filesystem::path directory;    // for drafts of bundles; made if missing
  MetricRegistry* metrics = nullptr;  // borrowed; null: none
};

/// A start of fewer bytes teaches nothing.
inline constexpr uint64_t kMinTaughtBytes = uint64_t{1} << 20;

/// Does it now, in this thread. Errors: the store's, exhausted (disk full), corrupt (the cache has wrong bytes),
/// cancelled.
Result<Learned> learn(const RecordedStart& start, const ProfileWriterOptions& options, WallTime now,
                      const std::stop_token& stop = {});

/// Thread-safe. One thread of low priority.
class ProfileWriter {
 public:
  static constexpr size_t kQueued = 16;

  explicit ProfileWriter(ProfileWriterOptions options);
  /// Gives up what is under way, and what waits.
  ~ProfileWriter();
  ProfileWriter(const ProfileWriter&) = delete;
  ProfileWriter& operator=(const ProfileWriter&) = delete;

  /// Returns at once. With a full queue the start is dropped: there will be others. Trouble is logged.
  void add(RecordedStart start);
  /// Returns when nothing is queued or under way. For tests and for a calm end.
  void wait_until_idle();

 private:
  void run(const std::stop_token& stop);

  const ProfileWriterOptions options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<RecordedStart> queue_;
  bool busy_ = false;
  std::jthread thread_;
};

}  // namespace hearth::mount
