// The table at the end of a pack (docs/formats/layer.md): what lies where. It binds the pack's digest, which is of all
// its bytes, to its chunks: equal packs have equal plain spaces.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// One chunk of a pack.
struct PackEntry {
  Digest digest;        // SHA-256 of the plain bytes
  uint32_t length = 0;  // plain bytes
  uint64_t offset = 0;  // in the pack
  uint64_t plain_offset = 0;
  uint32_t stored_length = 0;
  ChunkEncoding encoding = ChunkEncoding::raw;
};

/// Of a pack that is being made. Not thread-safe.
class PackTableWriter {
 public:
  /// Bytes of the table with `more` further entries.
  uint64_t size(uint64_t more) const;
  void add(const ChunkInfo& chunk, uint32_t stored_length, ChunkEncoding encoding);
  uint64_t stored_size() const { return stored_size_; }  // of all chunks: where the table begins
  uint64_t plain_size() const { return plain_size_; }
  /// The bytes to append behind the chunks; the writer is empty again.
  std::string finish();

 private:
  std::string entries_;
  uint32_t count_ = 0;
  uint64_t stored_size_ = 0;
  uint64_t plain_size_ = 0;
};

struct PackTable {
  std::vector<PackEntry> entries;  // in the order of the pack
  uint64_t plain_size = 0;
};

/// Bytes of the table of a pack, told by the last kPackTrailerBytes of the pack, or more. corrupt when there is none.
inline constexpr uint64_t kPackTrailerBytes = 48;
Result<uint64_t> pack_table_bytes(std::string_view tail);

/// Reads the table of a pack of `pack_size` bytes from its last bytes: all of the table, or more, or the whole pack.
/// corrupt when it is damaged or its entries do not cover exactly the bytes before it. Whether chunks match their
/// digests is not looked at.
Result<PackTable> read_pack_table(std::string_view tail, uint64_t pack_size);

}  // namespace hearth::image
