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
  std::chrono::milliseconds flush_every{5};       // records wait at most this long before write(2)
  std::chrono::milliseconds sync_every{1'000};
  uint64_t buffer_bytes = 32u << 20;  // not yet written: beyond it log texts are dropped, usage is kept
  uint64_t log_bytes_per_workspace = uint64_t{1} << 30;  // stored log segments: beyond it the oldest are removed
};

struct WriterStats {
  uint64_t appended = 0;
  uint64_t written = 0;
  uint64_t synced = 0;
  uint64_t without_text = 0;  // usage kept, log text dropped: disk full or buffer full
  uint64_t segments_uploaded = 0;
  uint64_t upload_failures = 0;
};

/// append may be called from any thread. Owns a writer thread and an uploader thread.
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

  /// Serializes into memory and returns: no system call, no disk. Never fails the request.
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
