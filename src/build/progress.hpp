// How a build tells where it is: phases for a progress bar, and the lines its tools print.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace hearth::build {

struct Progress {
  std::string phase;    // "base", "import", "upload", "packages", "code", "artifacts", "check"
  std::string message;  // what is being done; may be empty
  uint64_t done = 0;    // bytes or per cent, against total
  uint64_t total = 0;   // 0: unknown
  std::string log;      // one line of a tool's output, credentials masked; may be empty
};

/// Called from the building thread and from readers of tools' output, one call at a time.
using ProgressSink = std::function<void(const Progress&)>;

/// Passes byte counts on at most every 2 MiB: a bar needs no more, and each report travels to the caller.
inline std::function<void(uint64_t)> now_and_then(std::function<void(uint64_t)> report) {
  constexpr uint64_t kStepBytes = 2u << 20;
  return [report = std::move(report), last = uint64_t{0}](uint64_t bytes) mutable {
    if (bytes >= last && bytes < last + kStepBytes) return;
    last = bytes;
    report(bytes);
  };
}

}  // namespace hearth::build
