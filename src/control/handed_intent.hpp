// The intent that a node hands over with what it built: it keeps the layers until the root that names them is written.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/intent.hpp"
#include "blob/object_store.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace hearth::control {

struct HandedIntent {
  std::string workspace;
  std::string id;  // empty: the node sent none
  MonoTime since;  // when its answer came
};

/// From the answer of a node's build or import_image.
HandedIntent read_intent(const nlohmann::json& answer, std::string workspace);

/// To be asked right before the root is written. unavailable when that took too long.
Result<> check_in_time(const HandedIntent& intent);
/// Ends it, after the root was written or because it never will be. Blocking; a failure is logged: it lapses by itself.
void end_handed(blob::ObjectStore& store, const HandedIntent& intent);

}  // namespace hearth::control
