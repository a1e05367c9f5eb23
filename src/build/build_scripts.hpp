// The two programs that run inside build containers.
#pragma once

#include <string_view>

namespace hearth::build {

/// POSIX shell: installs system and Python packages. Reads /hearth/build (settings and lists).
extern const std::string_view kInstallScript;
/// Python ≥ 3.8: checks that the entry points exist without running the user's code, then compiles /model. Arguments:
/// key=module:function …
extern const std::string_view kCheckScript;

/// How the install script ends when the image lacks something that the packages need.
inline constexpr int kNoApt = 65;
inline constexpr int kNoPython = 66;
inline constexpr int kAptFailed = 67;
inline constexpr int kPipFailed = 68;
/// How the check script ends when the model cannot work.
inline constexpr int kBadHandler = 65;
inline constexpr int kOldPython = 66;

}  // namespace hearth::build
