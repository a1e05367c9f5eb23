// How a build tells where it is: phases for a progress bar, and the lines its tools print.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

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

}  // namespace hearth::build
