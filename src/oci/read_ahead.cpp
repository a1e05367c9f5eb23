#include "oci/read_ahead.hpp"

#include <algorithm>
#include <cstring>

namespace hearth::oci {

namespace {

constexpr size_t kBlockBytes = 256 * 1024;

}  // namespace

ReadAhead::ReadAhead(ByteSource& inner, size_t ahead_bytes)
    : inner_(inner), max_blocks_(std::max<size_t>(2, ahead_bytes / kBlockBytes)), thread_([this] { run(); }) {}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    dropped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ReadAhead::run() {
  for (;;) {
    std::string block;
    std::optional<Error> error;
    bool at_end = false;
    block.resize_and_overwrite(kBlockBytes, [this, &error, &at_end](char* buffer, size_t size) {
      size_t have = 0;
      while (have < size && !at_end) {
        auto got = inner_.read(buffer + have, size - have);
        if (!got) {
          error = std::move(got).error();
          break;
        }
        at_end = *got == 0;
        have += *got;
      }
      return have;
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return dropped_ || blocks_.size() < max_blocks_; });
    if (dropped_) return;
    if (!block.empty()) blocks_.push_back(std::move(block));
    error_ = std::move(error);
    ended_ = at_end || error_;
    changed_.notify_all();
    if (ended_) return;
  }
}

Result<size_t> ReadAhead::read(char* to, size_t size) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_ || !blocks_.empty(); });
  if (blocks_.empty()) {
    if (error_) return Unexpected(*error_);
    return size_t{0};
  }
  // Only this thread removes blocks, so the first one may be copied from without the lock.
  std::string& block = blocks_.front();
  lock.unlock();
  const size_t count = std::min(size, block.size() - used_);
  // NOLINTNEXTLINE(bugprone-not-null-terminated-result): bytes, not text
  std::memcpy(to, block.data() + used_, count);
  used_ += count;
  if (used_ < block.size()) return count;
  lock.lock();
  blocks_.pop_front();
  used_ = 0;
  changed_.notify_all();
  return count;
}

}  // namespace hearth::oci
