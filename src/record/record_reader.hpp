// Searches records: stored segments and the live spool of this machine.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::record {

/// Empty fields match everything; the workspace must be given.
struct RecordQuery {
  std::string workspace;
  std::string model;
  std::string branch;
  std::optional<uint32_t> version;
  std::optional<WallTime> since;
  size_t limit = 100;  // the newest that match
};

/// Where a follower has got to in the live spool. Start with position() and pass it on.
struct SpoolPosition {
  uint64_t segment = 0;
  uint64_t offset = 0;
};

struct UsageTotal {
  std::string model;
  std::string branch;
  uint32_t version = 0;
  uint64_t requests = 0;
  uint64_t failed = 0;  // answered with a status from 400
  uint64_t rows = 0;
  uint64_t failed_rows = 0;
  uint64_t run_us = 0;
  uint64_t cpu_us = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

/// Blocking, thread-safe, without state of its own.
class RecordReader {
 public:
  /// `spool` may be empty: stored segments only.
  RecordReader(std::filesystem::path spool, std::shared_ptr<blob::ObjectStore> store)
      : spool_(std::move(spool)), store_(std::move(store)) {}

  /// Matching records as JSON lines (without '\n'), oldest first. What was appended within the writer's flush_every may
  /// not be seen yet.
  Result<std::vector<std::string>> query(const RecordQuery& query) const;

  /// The end of the live spool now.
  Result<SpoolPosition> position() const;
  /// Matching records written since `position`, which is moved on. Returns at once; call again every few 100 ms.
  Result<std::vector<std::string>> follow(const RecordQuery& query, SpoolPosition& position) const;

  /// Usage of a workspace per version, stored and live, each request counted once.
  Result<std::vector<UsageTotal>> usage(const std::string& workspace, std::optional<WallTime> since) const;

 private:
  std::filesystem::path spool_;
  std::shared_ptr<blob::ObjectStore> store_;
};

}  // namespace hearth::record
