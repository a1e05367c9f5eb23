// Which workspace may see which layer on this machine: a digest alone opens nothing.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace hearth::mount {

/// DIR/grants/<hex>/<workspace>: this workspace was once seen to have the layer, and no store is asked again: what runs
/// keeps running when the store is away. Thread-safe.
class Grants {
 public:
  Grants(std::filesystem::path dir, std::shared_ptr<blob::ObjectStore> store)
      : dir_(std::move(dir)), store_(std::move(store)) {}

  /// Errors: not_found (neither the workspace nor what is shared has it), unavailable (the store does not say).
  Result<> check(const std::string& workspace, const Digest& digest) const;
  /// Makes check() true without asking: who calls has just read the layer's index in that workspace.
  Result<> grant(const std::string& workspace, const Digest& digest) const;
  bool known(const std::string& workspace, const Digest& digest) const;
  /// Forgets all of a layer: it is no longer on this machine.
  void forget(const Digest& digest) const;

 private:
  std::filesystem::path dir_;
  std::shared_ptr<blob::ObjectStore> store_;
};

}  // namespace hearth::mount
