// A received frame and typed views of its entries. Views never allocate and never copy; they point into the
// decoder's buffer and are valid until the decoder is given more bytes. A Frame made by FrameDecoder has been
// checked: its entries fit and the payload lengths add up, so the views cannot fail.
#pragma once

#include "wire/protocol.hpp"

#include <cstdint>
#include <string_view>
#include <utility>

namespace hearth::wire {

struct Frame {
  FrameHeader header;
  std::string_view body;  // entries, then payloads; for HELLO, EVENT, OPEN, GOODBYE the JSON text

  FrameType type() const { return header.type; }
  uint64_t seq() const { return header.seq; }
};

struct Request : RequestEntry {
  std::string_view payload;
};

struct ResultView : ResultEntry {
  uint64_t seq = 0;
  std::string_view value;
  std::string_view stdout_text;
  std::string_view stderr_text;
};

struct Progress : ProgressEntry {
  std::string_view payload;
};

/// Forward range over the entries of one frame: `for (Request request : Entries<Request>(frame))`.
/// T: Request (REQUESTS), ResultView (RESULTS), CreditEntry (CREDITS), IdEntry (CANCEL, ATTACH), Progress (PROGRESS).
template <class T>
class Entries {
 public:
  class Iterator;
  struct End {};

  explicit Entries(const Frame& frame) : frame_(frame) {}
  Iterator begin() const { return Iterator(frame_); }
  End end() const { return {}; }
  size_t size() const { return frame_.header.count; }

 private:
  Frame frame_;
};

/// Reads one entry at `entry`, taking its payload from the front of `payloads`. Only the iterator calls these.
void read_entry(const char* entry, std::string_view& payloads, Request& out);
void read_entry(const char* entry, std::string_view& payloads, ResultView& out);
void read_entry(const char* entry, std::string_view& payloads, CreditEntry& out);
void read_entry(const char* entry, std::string_view& payloads, IdEntry& out);
void read_entry(const char* entry, std::string_view& payloads, Progress& out);

// --- Inline implementations ---

template <class T>
class Entries<T>::Iterator {
 public:
  explicit Iterator(const Frame& frame)
      : entry_(frame.body.data()),
        payloads_(frame.body.substr(frame.header.count * T::kWireBytes)),
        left_(frame.header.count),
        seq_(frame.header.seq) {
    read();
  }
  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }
  Iterator& operator++() {
    entry_ += T::kWireBytes;
    --left_;
    ++seq_;
    read();
    return *this;
  }
  bool operator==(End) const { return left_ == 0; }

 private:
  void read() {
    if (left_ == 0) return;
    read_entry(entry_, payloads_, value_);
    if constexpr (requires { value_.stdout_text; }) value_.seq = seq_;
  }

  const char* entry_;
  std::string_view payloads_;
  size_t left_;
  uint64_t seq_;
  T value_{};
};

}  // namespace hearth::wire
