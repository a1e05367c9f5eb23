#include "image/stored_chunk.hpp"

#include <zstd.h>

namespace hearth::image {

Result<std::string> decode_stored_chunk(const ChunkInfo& chunk, ChunkEncoding encoding, std::string_view stored) {
  std::string bytes;
  if (encoding == ChunkEncoding::raw) {
    bytes = stored;
  } else {
    bytes.resize_and_overwrite(chunk.length, [&stored](char* buffer, size_t capacity) {
      const size_t size = ::ZSTD_decompress(buffer, capacity, stored.data(), stored.size());
      return ::ZSTD_isError(size) != 0 ? size_t{0} : size;
    });
  }
  if (bytes.size() == chunk.length && Digest::of(bytes) == chunk.digest) return bytes;
  return fail(ErrorCode::corrupt, "a chunk does not match its digest " + chunk.digest.hex());
}

}  // namespace hearth::image
