// The plain tars of an image's layers, one after another; each is read, decompressed and hashed by a thread of its own,
// the next ones ahead of the one that is being used.
#pragma once

#include "base/result.hpp"
#include "oci/byte_source.hpp"
#include "oci/image_archive.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

namespace hearth::image {

/// One thread. Memory: kLanes times 32 MiB.
class LayerFeed {
 public:
  static constexpr size_t kLanes = 4;

  explicit LayerFeed(const oci::ImageArchive& archive);
  ~LayerFeed();
  LayerFeed(const LayerFeed&) = delete;
  LayerFeed& operator=(const LayerFeed&) = delete;

  /// The plain bytes of the next layer; valid until the next call.
  Result<oci::ByteSource*> next();
  /// Once the layer was read to its end: whether it is what the image promised. corrupt when it is not.
  Result<> check() const;

  /// Stored bytes of all layers that were read so far, ahead or not. From any thread.
  uint64_t stored_bytes() const { return stored_bytes_; }

 private:
  class Lane;
  const oci::ImageArchive& archive_;
  std::atomic<uint64_t> stored_bytes_ = 0;
  size_t begun_ = 0;                         // layers with a lane, now or before
  size_t given_ = 0;                         // layers that next() has given
  std::deque<std::unique_ptr<Lane>> lanes_;  // first: the one that is being used
};

}  // namespace hearth::image
