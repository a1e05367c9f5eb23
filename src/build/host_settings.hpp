// The host's settings for pip and apt, copied to a private folder that a build container sees and no layer keeps.
#pragma once

#include "base/result.hpp"
#include "build/secret_mask.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::build {

/// Where the folder appears in a build container.
inline constexpr std::string_view kSettingsInside = "/hearth/build";

/// What is looked at. Tests name other places.
struct SettingsSources {
  std::filesystem::path root = "/";  // before /etc …
  std::filesystem::path home;        // of who runs the node
  std::map<std::string, std::string> environment;

  static SettingsSources of_this_process();
};

struct HostSettings {
  std::vector<std::string> local_folders;  // package folders of the host that settings point at: bound at the same path
  SecretMask mask;
};

/// "debian bookworm" of an os-release file: settings for apt fit images of the same release alone.
std::string release_of(std::string_view os_release);

/// Writes below `directory` (made 0755 inside a closed parent):
///   pip.conf            all levels merged; certificates copied beside it
///   netrc, ca.pem       as far as the host has them
///   apt/…, apt.conf     sources, keys, credentials, preferences, network options
///   apt-network.conf    network options and credentials alone, for images of another distribution
///   env.sh              proxies and the names of the files above, to be read by a shell
Result<HostSettings> collect_host_settings(const SettingsSources& sources, const std::filesystem::path& directory);

}  // namespace hearth::build
