// Which boot of the machine this is.
#pragma once

#include "base/file.hpp"

#include <string>

namespace hearth::mount {

/// The kernel's name for this boot; empty when it does not tell.
inline std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id").value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace hearth::mount
