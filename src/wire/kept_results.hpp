// Both ends of "a result is kept until it is acknowledged". Pure state; not thread-safe.
#pragma once

#include "wire/frame.hpp"
#include "wire/frame_writer.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace hearth::wire {

/// Sender's side: numbers results from 1 and keeps them until the peer acknowledges.
class KeptResults {
 public:
  /// Copies the payload; returns the sequence number. Consecutive calls give consecutive numbers.
  uint64_t keep(const ResultEntry& entry, const ResultPayload& payload);

  /// Everything up to and including `seq` was processed by the peer and is dropped. Numbers of the past are ignored,
  /// and so are numbers never given out (the peer talks of a former process).
  void acknowledge(uint64_t seq);

  /// Appends frames holding every kept result after `seq` (all, when it was never given out); for ATTACH. Returns the
  /// last sequence number there is.
  uint64_t append_after(uint64_t seq, std::string& out, size_t frame_limit_bytes = kMaxFrameBytes) const;

  bool has(uint64_t id) const;
  uint64_t last_seq() const { return next_seq_ - 1; }
  size_t count() const { return kept_.size(); }
  size_t bytes() const { return bytes_; }  // of payloads

 private:
  struct Kept {
    ResultEntry entry;
    std::string payload;  // value, stdout, stderr
  };

  std::deque<Kept> kept_;  // kept_.front() has sequence number next_seq_ - kept_.size()
  uint64_t next_seq_ = 1;
  size_t bytes_ = 0;
};

/// Receiver's side: what has been processed of one sender process.
class ResultCursor {
 public:
  enum class Arrival {
    fresh,      // process it
    duplicate,  // sent again after an ATTACH; already processed
    gap,        // an earlier one is missing: the peer broke the protocol, close
  };

  Arrival arrive(uint64_t seq) {
    if (seq <= last_) return Arrival::duplicate;
    if (seq != last_ + 1) return Arrival::gap;
    last_ = seq;
    return Arrival::fresh;
  }
  /// The sequence number to acknowledge, and to give to ATTACH.
  uint64_t last() const { return last_; }
  /// The peer is a new process (another "boot"): its numbers start at 1.
  void reset() { last_ = 0; }

 private:
  uint64_t last_ = 0;
};

}  // namespace hearth::wire
