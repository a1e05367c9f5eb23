// The context file of the person who typed `hearth up`, also when sudo made them root.
#pragma once

#include "base/result.hpp"
#include "client/endpoint.hpp"

namespace hearth::supervisor {

/// Writes it for our own user, and for the one sudo was called by: with that user's rights, since the home is theirs.
/// The first error is returned; the other file is written all the same.
Result<> write_context_for_invoking_user(const client::Context& context);

}  // namespace hearth::supervisor
