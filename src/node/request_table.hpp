// The requests this node owes an answer for: found by id in constant time, no allocation once the table is warm.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::node {

class Replica;
class RouterSession;

/// queued → sent → (answered and erased); asked: a router's ATTACH, forwarded to adopted workers that may have it.
enum class RequestStage : uint8_t { queued, sent, asked };

/// Why nobody wants the answer any more.
enum class GivenUp : uint8_t { no, deadline, cancelled };

struct PendingRequest {
  uint64_t id = 0;
  RouterSession* session = nullptr;  // null: the router is gone for good, the answer is dropped
  Replica* replica = nullptr;        // null for `asked`
  uint32_t worker = 0;               // for `sent`
  RequestStage stage = RequestStage::queued;
  GivenUp given_up = GivenUp::no;
  bool interrupted = false;  // the supervisor has been told
  uint32_t waited_us = 0;    // in this node, before it was sent
  uint64_t sent_order = 0;   // counts what the replica has sent: a worker runs in this order
  MonoTime received;
  MonoTime given_up_at;
  Deadline deadline;
  std::string payload;        // `queued` only, and then only once the frame it came in is gone
  std::string_view borrowed;  // `queued`: where the payload lies now
};

/// Loop thread only. Pointers stay valid until the entry is erased.
class RequestTable {
 public:
  RequestTable();

  /// A fresh entry; nullptr when the id is already there.
  PendingRequest* add(uint64_t id);
  PendingRequest* find(uint64_t id);
  void erase(uint64_t id);
  size_t size() const { return size_; }

  /// The function may not add or erase; collect ids and do it afterwards.
  template <class Function>
  void for_each(Function function) {
    for (const Cell& cell : cells_) {
      if (cell.used) function(slots_[cell.slot]);
    }
  }

 private:
  struct Cell {
    uint64_t id = 0;
    uint32_t slot = 0;
    bool used = false;
  };
  size_t home(uint64_t id) const;
  size_t locate(uint64_t id) const;
  void grow();

  std::vector<Cell> cells_;  // open addressing, a power of two, at most half full
  std::deque<PendingRequest> slots_;
  std::vector<uint32_t> free_;
  size_t size_ = 0;
};

}  // namespace hearth::node
