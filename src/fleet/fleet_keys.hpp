// Private to fleet: the names in Redis (docs/formats/fleet.md).
#pragma once

#include <string>
#include <string_view>

namespace hearth::fleet {

inline constexpr std::string_view kNodeKeyPrefix = "hearth:node:";
inline constexpr const char* kNodeChannel = "hearth:nodes";       // payload: an announcement
inline constexpr const char* kGoodbyeChannel = "hearth:goodbye";  // payload: a node id

inline std::string node_key(std::string_view node_id) {
  return std::string(kNodeKeyPrefix).append(node_id);
}

}  // namespace hearth::fleet
