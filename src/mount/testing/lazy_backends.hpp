// A lazy back end with a holder of its own, for tests that compare back ends.
#pragma once

#include "blob/object_store.hpp"
#include "mount/imagefs.hpp"
#include "mount/layer_backend.hpp"

#include <filesystem>
#include <memory>

namespace hearth::mount::testing {

/// Works below a folder on a disk (tmpfs raises no events). Throws when it cannot be opened.
std::unique_ptr<LayerBackend> open_lazy_erofs(const std::filesystem::path& folder,
                                              std::shared_ptr<blob::ObjectStore> store);

std::unique_ptr<LayerBackend> open_lazy_fuse(const std::filesystem::path& folder,
                                             std::shared_ptr<blob::ObjectStore> store);

/// As the configuration says: of it `dir` and `backend` must be set. Socket, store and holder are not looked at;
/// nothing is evicted for free space unless it says how much is to be left.
std::unique_ptr<LayerBackend> open_lazy(Config config, std::shared_ptr<blob::ObjectStore> store);

/// Whether this host can run them.
bool lazy_erofs_is_possible();
bool lazy_fuse_is_possible();

/// Waits until a holder answers on the socket.
void wait_for_holder(const std::filesystem::path& socket);

}  // namespace hearth::mount::testing
