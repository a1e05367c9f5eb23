// The node's calls about the object store on the wire: store_du, store_gc, store_verify.
#pragma once

#include "node/node.hpp"
#include "node/store_care.hpp"

#include <map>
#include <memory>
#include <string>

namespace hearth::node {

/// Parameters and answers are those of POST /api/v1/store/… in api/openapi.yaml, with "workspace" and "grace_ms".
std::map<std::string, BlockingCall> store_calls(const std::shared_ptr<StoreCare>& care);

}  // namespace hearth::node
