// How many requests are in flight at once, and who goes first: demand reads before prefetch.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "blob/range_source.hpp"

#include <condition_variable>
#include <mutex>
#include <utility>

namespace hearth::blob {

/// Thread-safe.
class RequestGate {
 public:
  RequestGate(int most, int most_prefetch) : most_(most), most_prefetch_(most_prefetch) {}

  /// A place; given back when dropped.
  class Place {
   public:
    Place(RequestGate* gate, Priority priority) : gate_(gate), priority_(priority) {}
    Place(Place&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)), priority_(other.priority_) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (gate_ != nullptr) gate_->leave(priority_);
    }

   private:
    RequestGate* gate_;
    Priority priority_;
  };

  /// Waits for one; cancelled or deadline_exceeded when the patience ends first. The gate outlives the place.
  Result<Place> enter(Priority priority, const Patience& patience);

 private:
  bool free_for(Priority priority) const;
  void leave(Priority priority);

  const int most_;
  const int most_prefetch_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int inside_ = 0;
  int prefetch_inside_ = 0;
  int demand_waiting_ = 0;
};

}  // namespace hearth::blob
