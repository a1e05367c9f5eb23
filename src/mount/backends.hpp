// Chooses the back end of imagefs: the one that is named, or the best that this host can run.
#pragma once

#include "blob/object_store.hpp"
#include "mount/imagefs.hpp"
#include "mount/layer_backend.hpp"

#include <memory>

namespace hearth::mount {

/// "auto" tries erofs, fuse and unpack in this order, and logs why the better ones are not used. Errors:
/// invalid_argument (no such back end), unavailable (the named one cannot be had here, with the reason).
Result<std::unique_ptr<LayerBackend>> open_backend(const Config& config,
                                                   const std::shared_ptr<blob::ObjectStore>& store);

}  // namespace hearth::mount
