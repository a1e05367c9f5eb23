// The writing half of a RecordWriter, on its thread: journal → segment, with what to do when the disk is full. Private.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "record/journal.hpp"
#include "record/spool.hpp"
#include "record/usage_reserve.hpp"
#include "record/usage_table.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::record {

/// Not thread-safe. At most one journal or the reserve is being written at any moment, so that recovery cuts off at
/// most one tail.
class SegmentWriter {
 public:
  /// Begins after the last segment, with the usage that lies in the reserve.
  static Result<SegmentWriter> open(std::filesystem::path directory, UsageReserve reserve);
  /// Takes back what a killed process had half written of this journal. For each journal before anything is written.
  Result<> recover(Journal& journal);

  /// Writes all of the journal's content and clears it. Disk full: the texts are dropped, then all but usage, which
  /// goes to the reserve; so it always succeeds in keeping usage. Answers how many records lost their text.
  Result<uint64_t> write(Journal& journal);
  /// The same for content in memory.
  Result<uint64_t> write(std::string_view lines);
  /// Usage that was summed in memory.
  Result<> write(const UsageTable& usage);

  Result<> sync();
  /// Syncs and closes the current segment, if it has any content.
  Result<> rotate();

  uint64_t current() const { return number_; }  // of the open or next segment: those below are closed
  uint64_t size() const { return size_; }
  MonoTime opened_at() const { return opened_at_; }
  bool disk_full() const { return disk_full_; }

 private:
  SegmentWriter(std::filesystem::path directory, UsageReserve reserve)
      : directory_(std::move(directory)), reserve_(std::move(reserve)) {}
  Result<> take_back(FlushTarget target);
  Result<> open_segment();
  Result<> append(std::string_view lines);
  Result<uint64_t> keep_what_fits(std::string_view lines, Journal* journal, Error error);
  Result<> write_held();

  std::filesystem::path directory_;
  UsageReserve reserve_;
  UsageTable held_;  // in the reserve too
  UniqueFd fd_;
  uint64_t number_ = 1;
  uint64_t size_ = 0;
  MonoTime opened_at_;
  bool dirty_ = false;
  bool disk_full_ = false;
};

}  // namespace hearth::record
