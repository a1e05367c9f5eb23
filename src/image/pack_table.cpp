#include "image/pack_table.hpp"

#include "base/little_endian.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace hearth::image {

namespace {

constexpr std::string_view kMagic = "HRTHPACK";
constexpr uint32_t kVersion = 1;
constexpr size_t kEntryBytes = 48;
constexpr size_t kTrailerBytes = 16;
constexpr size_t kStoredLengthAt = 32, kLengthAt = 36, kEncodingAt = 40;

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "table of a pack: " + std::string(rule));
}

Result<PackEntry> read_entry(std::string_view record) {
  std::array<uint8_t, Digest::kSize> digest{};
  std::memcpy(digest.data(), record.data(), digest.size());
  PackEntry entry{.digest = Digest(digest),
                  .length = load_le<uint32_t>(record, kLengthAt),
                  .stored_length = load_le<uint32_t>(record, kStoredLengthAt)};
  const auto encoding = load_le<uint64_t>(record, kEncodingAt);
  if (encoding > static_cast<uint64_t>(ChunkEncoding::zstd)) return broken("unknown encoding");
  entry.encoding = static_cast<ChunkEncoding>(encoding);
  if (entry.length == 0 || entry.length > kChunkBytes || entry.stored_length == 0 ||
      entry.stored_length > entry.length) {
    return broken("length of a chunk");
  }
  if (entry.encoding == ChunkEncoding::raw && entry.stored_length != entry.length)
    return broken("stored size of a raw chunk");
  return entry;
}

}  // namespace

uint64_t PackTableWriter::size(uint64_t more) const {
  return entries_.size() + more * kEntryBytes + kTrailerBytes;
}

void PackTableWriter::add(const ChunkInfo& chunk, uint32_t stored_length, ChunkEncoding encoding) {
  entries_.append(reinterpret_cast<const char*>(chunk.digest.bytes().data()), Digest::kSize);
  append_le(entries_, stored_length);
  append_le(entries_, chunk.length);
  append_le(entries_, static_cast<uint64_t>(encoding));
  ++count_;
  stored_size_ += stored_length;
  plain_size_ += round_up_to_page(chunk.length);
}

std::string PackTableWriter::finish() {
  std::string bytes = std::move(entries_);
  append_le(bytes, count_);
  append_le(bytes, kVersion);
  bytes += kMagic;
  *this = {};
  return bytes;
}

Result<PackTable> read_pack_table(std::string_view pack) {
  if (pack.size() < kTrailerBytes || !pack.ends_with(kMagic)) return broken("not at the end of the pack");
  const std::string_view trailer = pack.substr(pack.size() - kTrailerBytes);
  if (load_le<uint32_t>(trailer, 4) != kVersion) {
    return broken("format version " + std::to_string(load_le<uint32_t>(trailer, 4)) + " is not known to this program");
  }
  const uint64_t count = load_le<uint32_t>(trailer, 0);
  if (count * kEntryBytes > pack.size() - kTrailerBytes) return broken("more entries than there is room for");
  const uint64_t begin = pack.size() - kTrailerBytes - count * kEntryBytes;
  PackTable table;
  table.entries.reserve(count);
  uint64_t offset = 0;
  for (uint64_t i = 0; i < count; ++i) {
    TRY(PackEntry entry, read_entry(pack.substr(begin + i * kEntryBytes, kEntryBytes)));
    entry.offset = offset;
    entry.plain_offset = table.plain_size;
    offset += entry.stored_length;
    table.plain_size += round_up_to_page(entry.length);
    table.entries.push_back(entry);
  }
  if (offset != begin) return broken("the chunks do not fill the pack");
  if (table.plain_size > kPackPlainBytes) return broken("the plain space is larger than the limit");
  return table;
}

}  // namespace hearth::image
