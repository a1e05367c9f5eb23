// A source read by a thread of its own, a bounded number of bytes ahead of its reader.
#pragma once

#include "oci/byte_source.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace hearth::oci {

/// The inner source belongs to the thread until this object is destroyed (which waits for a read in progress).
class ReadAhead final : public ByteSource {
 public:
  explicit ReadAhead(ByteSource& inner, size_t ahead_bytes = size_t{4} << 20);
  ~ReadAhead() override;
  Result<size_t> read(char* to, size_t size) override;

 private:
  void run();

  ByteSource& inner_;
  const size_t max_blocks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> blocks_;
  size_t used_ = 0;             // of the first block
  bool ended_ = false;          // nothing comes after blocks_
  bool dropped_ = false;        // nobody reads any more
  std::optional<Error> error_;  // why it ended
  std::thread thread_;
};

}  // namespace hearth::oci
