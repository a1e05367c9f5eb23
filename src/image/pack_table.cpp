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
constexpr size_t kTrailerBytes = kPackTrailerBytes;
constexpr size_t kCountAt = 32, kVersionAt = 36;
constexpr size_t kStoredLengthAt = 32, kLengthAt = 36, kEncodingAt = 40;

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "table of a pack: " + std::string(rule));
}

Digest load_digest(std::string_view bytes) {
  std::array<uint8_t, Digest::kSize> digest{};
  std::memcpy(digest.data(), bytes.data(), digest.size());
  return Digest(digest);
}

void append_digest(std::string& bytes, const Digest& digest) {
  bytes.append(reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize);
}

Result<PackEntry> read_entry(std::string_view record) {
  PackEntry entry{.digest = load_digest(record),
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
  append_digest(entries_, chunk.digest);
  append_le(entries_, stored_length);
  append_le(entries_, chunk.length);
  append_le(entries_, static_cast<uint64_t>(encoding));
  ++count_;
  stored_size_ += stored_length;
  plain_size_ += round_up_to_page(chunk.length);
}

std::string PackTableWriter::finish() {
  std::string bytes = std::move(entries_);
  append_digest(bytes, Digest::of(bytes));
  append_le(bytes, count_);
  append_le(bytes, kVersion);
  bytes += kMagic;
  *this = {};
  return bytes;
}

Result<uint64_t> pack_table_bytes(std::string_view tail) {
  if (tail.size() < kTrailerBytes || !tail.ends_with(kMagic)) return broken("not at the end of the pack");
  const std::string_view trailer = tail.substr(tail.size() - kTrailerBytes);
  if (load_le<uint32_t>(trailer, kVersionAt) != kVersion) {
    return broken("format version " + std::to_string(load_le<uint32_t>(trailer, kVersionAt)) +
                  " is not known to this program");
  }
  return load_le<uint32_t>(trailer, kCountAt) * kEntryBytes + kTrailerBytes;
}

Result<PackTable> read_pack_table(std::string_view tail, uint64_t pack_size) {
  TRY(const uint64_t table_bytes, pack_table_bytes(tail));
  if (table_bytes > tail.size() || table_bytes > pack_size) return broken("more entries than there is room for");
  const std::string_view table = tail.substr(tail.size() - table_bytes);
  const std::string_view entries = table.substr(0, table_bytes - kTrailerBytes);
  if (load_digest(table.substr(entries.size())) != Digest::of(entries)) return broken("it does not match its checksum");
  PackTable result;
  result.entries.reserve(entries.size() / kEntryBytes);
  uint64_t offset = 0;
  for (uint64_t at = 0; at < entries.size(); at += kEntryBytes) {
    TRY(PackEntry entry, read_entry(entries.substr(at, kEntryBytes)));
    entry.offset = offset;
    entry.plain_offset = result.plain_size;
    offset += entry.stored_length;
    result.plain_size += round_up_to_page(entry.length);
    result.entries.push_back(entry);
  }
  if (offset != pack_size - table_bytes) return broken("the chunks do not fill the pack");
  if (result.plain_size > kPackPlainBytes) return broken("the plain space is larger than the limit");
  return result;
}

}  // namespace hearth::image
