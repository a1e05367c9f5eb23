// Call of routers about stored images: what one weighs, shares, and how starts from it go.
#pragma once

#include "blob/object_store.hpp"
#include "node/node.hpp"

#include <map>
#include <memory>
#include <string>

namespace hearth::node {

/// Other layers an image is compared with, and bytes of their indexes that are read for that, at most: what is left out
/// is counted in the answer.
inline constexpr size_t kComparedLayers = 100;
inline constexpr uint64_t kComparedIndexBytes = uint64_t{256} << 20;

/// "image_report" {"workspace", "name"} → docs/formats/wire.md.
std::map<std::string, BlockingCall> image_calls(std::shared_ptr<blob::ObjectStore> store);

}  // namespace hearth::node
