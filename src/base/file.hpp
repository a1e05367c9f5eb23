// Whole files and directories, with errors that name the path.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace hearth {

/// The whole file; `limit_bytes` bounds what is read (exhausted beyond it).
Result<std::string> read_file(const std::filesystem::path& path, uint64_t limit_bytes = uint64_t{1} << 30);

/// Writes beside the target, fsyncs, renames over it: readers see the old or the new content, never a part.
Result<> write_file_atomic(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0644);

/// write(2) until all is written.
Result<> write_all(int fd, std::string_view bytes, std::string_view what);

/// open(2) with O_CLOEXEC.
Result<UniqueFd> open_file(const std::filesystem::path& path, int flags, unsigned mode = 0644);

/// mkdir -p; existing directories keep their mode.
Result<> make_directories(const std::filesystem::path& path, unsigned mode = 0755);

}  // namespace hearth
