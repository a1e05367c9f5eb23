// Usage that could not be written because the disk is full: kept in room set aside beforehand. Private.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "record/journal.hpp"
#include "record/usage_table.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace hearth::record {

/// A file of two slots written in turn, so that a kill while one is written leaves the other. Not thread-safe.
class UsageReserve {
 public:
  static constexpr uint64_t kSlotBytes = 512 * 1024;

  /// Reads back what an earlier process left.
  static Result<UsageReserve> open(const std::filesystem::path& path);

  /// Replaces the content. `target` marks that it is being written to a segment (see FlushTarget). Rows beyond the room
  /// are summed by hour, then by day.
  Result<> store(UsageTable& table, std::optional<FlushTarget> target = std::nullopt);

  /// Counts the calls of store.
  uint64_t generation() const { return generation_; }
  const UsageTable& left_behind() const { return left_behind_; }
  std::optional<FlushTarget> left_target() const { return left_target_; }

 private:
  explicit UsageReserve(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<> load();

  UniqueFd fd_;
  uint64_t generation_ = 0;
  UsageTable left_behind_;
  std::optional<FlushTarget> left_target_;
};

}  // namespace hearth::record
