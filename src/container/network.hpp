// The network of jails that ask for one: an own namespace, a veth pair on the bridge hearth0, NAT to the outside.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <string>

namespace hearth::container {

/// What one jail's network needs; plain data until its hook runs.
struct NetworkLease {
  std::string address;      // "10.213.0.7"
  std::string hook_script;  // POSIX shell, run by the runtime on the host when the namespaces exist, before the program
};

/// Bridge, forwarding and NAT rules of this machine; made when missing, shared by every Hearth on it. Idempotent.
/// Jails reach the outside, but not each other, not the host (its port 53 excepted), not link-local metadata services.
Result<> ensure_bridge();

/// Takes a free address for the jail that lives in `owner` (a directory: leases of directories that are gone are free).
Result<NetworkLease> lease_network(const std::filesystem::path& owner);
Result<> release_network(const std::filesystem::path& owner);

/// The host's resolv.conf without resolvers a jail cannot reach (loopback). Error when none is left.
Result<std::string> jail_resolv_conf(const std::filesystem::path& etc = "/etc",
                                     const std::filesystem::path& resolved = "/run/systemd/resolve/resolv.conf");

}  // namespace hearth::container
