// The node's long calls on the wire: build and import_image, by src/build.
#pragma once

#include "build/builder.hpp"
#include "node/node.hpp"

#include <map>
#include <memory>
#include <string>

namespace hearth::node {

/// "build" {"workspace","config_toml","files"} → {"image","stale_pyc","intent"} and "import_image" {"workspace","name",
/// "source": {"kind","tag"?,"reference"?,"files"?}} → the image record with "intent". Progress:
/// {"phase","message"?,"done"?,"total"?,"log"?}. Whoever writes the version or the name ends the intent after that.
std::map<std::string, BlockingCall> build_calls(const std::shared_ptr<build::Builder>& builder);

}  // namespace hearth::node
