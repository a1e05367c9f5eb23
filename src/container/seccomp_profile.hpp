// Which system calls a jail may make: an allow-list, everything else fails with EPERM.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace hearth::container {

enum class SeccompFor {
  replica,  // no capabilities: namespaces, mounts, tracing, keys, BPF, devices and clocks are out of reach
  build,    // adds what package managers need as root of their own jail: chroot
};

/// The `linux.seccomp` object of an OCI config.
nlohmann::json seccomp_profile(SeccompFor purpose);

}  // namespace hearth::container
