// The node's calls "build" and "import_image": JSON of the wire in, the builder's answer out (docs/formats/wire.md).
#pragma once

#include "build/builder.hpp"
#include "node/node.hpp"

#include <map>
#include <memory>
#include <stop_token>
#include <string>

namespace hearth::node {

/// Handlers for NodeOptions::calls; they share the builder and end early once `stop` is asked for.
std::map<std::string, BlockingCall> build_calls(std::shared_ptr<build::Builder> builder, std::stop_token stop);

}  // namespace hearth::node
