// From the stored bytes of one chunk to its plain ones, verified.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <string>
#include <string_view>

namespace hearth::image {

/// corrupt when the bytes cannot be decompressed, or do not match the chunk's length and digest.
Result<std::string> decode_stored_chunk(const ChunkInfo& chunk, ChunkEncoding encoding, std::string_view stored);

}  // namespace hearth::image
