// The cgroup of one container, v1 controllers or the v2 tree: freeze, thaw, usage, out-of-memory count.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace hearth::container {

enum class CgroupVersion { v1, v2 };

/// v2 when /sys/fs/cgroup itself is the v2 tree; else v1 (a hybrid machine's empty v2 tree does not count).
Result<CgroupVersion> detect_cgroup_version(const std::filesystem::path& root = "/sys/fs/cgroup");

struct CgroupUsage {
  microseconds cpu{0};
  uint64_t memory_bytes = 0;       // what is charged now, tmpfs included
  uint64_t memory_peak_bytes = 0;  // 0 where the kernel does not say
};

/// A name for a cgroup, not its owner: runc makes it, `remove` clears what is left. Thread-safe; blocking, but short.
class Cgroup {
 public:
  /// `path` is absolute in the hierarchy: "/hearth/ab12cd34ef56/<replica>".
  static Result<Cgroup> open(std::string path, const std::filesystem::path& root = "/sys/fs/cgroup");

  /// Stops every process; returns when the kernel says all are frozen. Thaws again and fails when the deadline passes.
  Result<> freeze(Deadline deadline);
  Result<> thaw();
  Result<bool> frozen() const;

  Result<CgroupUsage> usage() const;
  /// Processes inside now; 0 when the cgroup is gone.
  size_t process_count() const;
  /// How many processes the kernel has killed for lack of memory in here. 0 when the cgroup is gone.
  Result<uint64_t> oom_kills() const;
  /// SIGKILLs everything inside, thawing if need be.
  Result<> kill_all();
  /// Removes the directories in every hierarchy; success when there are none. Error when processes remain.
  Result<> remove();

  const std::string& path() const { return path_; }

 private:
  Cgroup(std::string path, std::filesystem::path root, CgroupVersion version)
      : path_(std::move(path)), root_(std::move(root)), version_(version) {}
  std::filesystem::path directory(std::string_view controller) const;

  std::string path_;
  std::filesystem::path root_;
  CgroupVersion version_;
};

}  // namespace hearth::container
