// Raw deflate streams, by one of two libraries: ISA-L where it was found when Hearth was built, zlib everywhere.
#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::oci {

/// One thread.
class Inflater {
 public:
  virtual ~Inflater() = default;

  struct Step {
    size_t consumed = 0;  // bytes of the input
    size_t produced = 0;  // bytes of the output
    bool ended = false;   // this was the end of the stream
    /// At the end: bytes that were taken and come after the stream, at most 8.
    std::string taken_too_many;
  };
  /// Inflates some of `in` into `size` bytes at `to`. Consumes and produces nothing only when it needs more input.
  /// corrupt: a damaged stream.
  virtual Result<Step> step(std::string_view in, char* to, size_t size) = 0;
  /// Ready for another stream.
  virtual void reset() = 0;
  /// The checksum of gzip, continued.
  virtual uint32_t crc32(uint32_t crc, std::string_view bytes) const = 0;
};

enum class InflaterKind { fastest, zlib };

/// The fastest there is, or zlib's.
std::unique_ptr<Inflater> make_inflater(InflaterKind kind = InflaterKind::fastest);

/// Null where Hearth was built without ISA-L.
std::unique_ptr<Inflater> make_isal_inflater();

}  // namespace hearth::oci
