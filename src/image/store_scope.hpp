// Which part of the object store belongs to whom: a workspace sees its own content and the published bases.
#pragma once

#include "base/digest.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// "ws/<workspace>" or "shared": the folder that holds layers/ and packs/.
class StoreScope {
 public:
  static StoreScope workspace(std::string_view name) { return StoreScope("ws/" + std::string(name)); }
  static StoreScope shared() { return StoreScope("shared"); }

  const std::string& prefix() const { return prefix_; }
  std::string layer_key(const Digest& digest) const { return prefix_ + "/layers/" + digest.hex(); }
  std::string pack_key(const Digest& digest) const { return prefix_ + "/packs/" + digest.hex(); }
  bool operator==(const StoreScope&) const = default;

  /// Where content of a workspace is looked up, in this order: its own, then the shared one.
  static std::vector<StoreScope> lookup_order(std::string_view workspace_name) {
    return {StoreScope::workspace(workspace_name), shared()};
  }

 private:
  explicit StoreScope(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string prefix_;
};

}  // namespace hearth::image
