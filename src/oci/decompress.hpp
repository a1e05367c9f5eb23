// Compressed blobs. What they are is told by their first bytes, never by a media type or a name.
#pragma once

#include "base/result.hpp"
#include "oci/byte_source.hpp"

#include <memory>

namespace hearth::oci {

enum class Compression { none, gzip, zstd };

/// The plain bytes of a source that may be gzip (any number of members, all header fields), zstd (any number of frames,
/// skippable ones included) or plain. Refused as corrupt: damaged or cut streams, wrong checksums, anything but zeros
/// after the last gzip member. Refused as invalid_argument: bzip2, xz, lz4.
class Decompressor : public ByteSource {
 public:
  static Result<std::unique_ptr<Decompressor>> open(ByteSource& inner);
  virtual Compression compression() const = 0;
};

}  // namespace hearth::oci
