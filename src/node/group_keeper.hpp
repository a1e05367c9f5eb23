// The node's copy of the group in which reads of images wait. Nobody else has one left when holder, imagefs and
// supervisor are killed together: readers then wait for the next `hearth up` instead of reading holes as zeros.
#pragma once

#include "base/unique_fd.hpp"
#include "holder/client.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace hearth::node {

/// Thread-safe.
class GroupKeeper {
 public:
  explicit GroupKeeper(std::shared_ptr<holder::Client> holder) : holder_(std::move(holder)) {}

  /// Blocks. Takes the group that the holder relays now; without one, what was kept is kept.
  void refresh() {
    auto group = holder_->get(holder::kImagesGroup);
    if (!group) return;
    const std::lock_guard lock(mutex_);
    group_ = std::move(*group);
  }

 private:
  std::shared_ptr<holder::Client> holder_;
  std::mutex mutex_;
  UniqueFd group_;
};

}  // namespace hearth::node
