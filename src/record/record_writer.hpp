// Logs and usage of a router: an append-only spool on local disk, uploaded to the object store segment by segment.
// Format: docs/formats/records.md.
#pragma once

#include "base/result.hpp"
#include "record/request_record.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::record {

struct WriterConfig {
  std::filesystem::path directory;                // the spool: DATA/router/spool; one writer at a time (locked)
  uint64_t segment_bytes = 16u << 20;             // a segment is closed at this size …
  std::chrono::milliseconds segment_age{60'000};  // … or age
  std::chrono::milliseconds flush_every{20};      // records lie this long in the journal before write(2)
  std::chrono::milliseconds sync_every{1'000};    // what power failure may cost
  uint64_t journal_bytes = 4u << 20;              // each of two halves
  uint64_t buffer_bytes = 32u << 20;              // memory for what the journal cannot take; then texts are dropped
  uint64_t spool_bytes = uint64_t{1} << 30;       // closed segments that wait for the store: beyond it the oldest
                                                  // are reduced to their usage
  uint64_t log_bytes_per_workspace = uint64_t{1} << 30;  // stored log segments: beyond it the oldest are removed
  std::chrono::milliseconds keep_uploaded{10'000};       // for followers that are still reading a segment
  std::chrono::milliseconds retry_every{15'000};         // an upload that failed
};

struct WriterStats {
  uint64_t appended = 0;
  uint64_t without_text = 0;  // log text dropped, usage kept: disk full or buffers full
  uint64_t segments_uploaded = 0;
  uint64_t segments_reduced = 0;  // to their usage, for lack of room
  uint64_t upload_failures = 0;
  bool disk_full = false;
};

/// Appending is safe from any thread. Owns a writer thread and an uploader thread.
class RecordWriter {
 public:
  /// Takes up what an earlier process left in the spool. Error when the directory cannot be used or another writer
  /// holds it.
  static Result<std::unique_ptr<RecordWriter>> open(const WriterConfig& config,
                                                    std::shared_ptr<blob::ObjectStore> store);
  /// Writes, syncs and closes the current segment; what is not yet uploaded stays in the spool for the next writer.
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  /// Serializes into a memory-mapped journal and returns. From then on killing the process loses nothing, unless
  /// the disk has fallen a whole journal behind. Never fails the request: without room the text is dropped, at last all
  /// but its usage.
  void append(const RequestRecord& record);

  /// Returns when everything appended before is on disk (fsync). For shutdown and tests.
  Result<> flush();
  /// Closes the current segment and returns when everything before is in the object store. For tests.
  Result<> upload();

  WriterStats stats() const;

 private:
  struct State;
  explicit RecordWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::record
