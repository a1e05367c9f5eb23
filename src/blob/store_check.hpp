// Whether a store keeps the one promise that everything rests on, asked before it is used for the first time.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"

namespace hearth::blob {

/// Creates an object twice, reads it and removes it. invalid_argument when the second creation replaced the first: a
/// server that ignores the condition would lose versions. Other errors are the store's.
Result<> check_store(ObjectStore& store);

}  // namespace hearth::blob
