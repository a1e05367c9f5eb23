// Moves closed segments to the object store, and keeps spool and stored logs within their limits. Private.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "record/record_writer.hpp"
#include "record/spool.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::record {

struct UploadCounts {
  uint64_t uploaded = 0;
  uint64_t reduced = 0;
};

/// Not thread-safe; used on the writer's uploader thread.
class SegmentUploader {
 public:
  SegmentUploader(const WriterConfig& config, const Spool& spool, std::shared_ptr<blob::ObjectStore> store)
      : config_(config), spool_(spool), store_(std::move(store)) {}

  /// Uploads every segment below `current`, oldest first; stops at the first failure.
  Result<> upload_closed(uint64_t current);
  /// Reduces the oldest closed segments to their usage while they take more than `limit_bytes`.
  Result<> shrink_spool(uint64_t current, uint64_t limit_bytes);
  /// Removes uploaded segments that followers no longer need.
  void remove_uploaded(WallTime now);

  /// Since the last call.
  UploadCounts take_counts() { return std::exchange(counts_, {}); }

 private:
  Result<> bound_logs(const std::string& workspace);
  Result<> reduce(const SegmentFile& segment);

  const WriterConfig& config_;
  const Spool& spool_;
  std::shared_ptr<blob::ObjectStore> store_;
  std::map<std::string, uint64_t> sizes_;  // of stored log segments: they never change
  UploadCounts counts_;
};

}  // namespace hearth::record
