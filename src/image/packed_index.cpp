#include "image/packed_index.hpp"

#include "base/digest.hpp"
#include "base/little_endian.hpp"
#include "image/layer_format.hpp"
#include "image/layer_index.hpp"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <vector>

namespace hearth::image {

namespace {

namespace packed = format::packed;

/// Digests, which do not compress, are most of an index: a higher level takes five times as long for one percent.
constexpr int kCompressionLevel = 5;
/// Records whose planes are put together at a time: they stay in the processor's first cache.
constexpr uint64_t kTileBytes = 16 * 1024;

/// A table of records of one size: a multiple of four bytes, or one for what is not made of numbers.
struct Table {
  uint64_t count = 0;
  uint64_t record = 1;
  uint64_t bytes() const { return count * record; }
};

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "layer index: " + std::string(rule));
}

Unexpected broken_zstd(size_t code) {
  return broken(std::string("zstd: ") + ::ZSTD_getErrorName(code));
}

/// What follows a tree's header, as its counts say. corrupt when it does not fit the size that the header says.
Result<std::vector<Table>> tables_of(std::string_view header) {
  namespace at = format::header;
  const auto count = [header](size_t offset) { return uint64_t{load_le<uint32_t>(header, offset)}; };
  std::vector<Table> tables{
      {count(at::kInodesAt), format::kInodeBytes}, {count(at::kExtentsAt), format::kExtentBytes},
      {count(at::kXattrsAt), format::kXattrBytes}, {count(at::kChunksAt), format::kChunkEntryBytes},
      {count(at::kBlocksAt) * Digest::kSize, 1},   {count(at::kEntriesAt), format::kEntryBytes}};
  uint64_t used = format::kHeaderBytes;
  for (const Table& table : tables) used += table.bytes();
  const auto tree_bytes = load_le<uint64_t>(header, at::kTreeBytesAt);
  if (tree_bytes < used) return broken("the counts do not match the size");
  tables.push_back({tree_bytes - used, 1});  // texts
  return tables;
}

/// Byte k of all records, for each k: what is alike in neighbouring records comes together.
std::string to_planes(std::string_view records, const Table& table) {
  if (table.record == 1) return std::string(records);
  std::string planes;
  planes.reserve(records.size());
  for (uint64_t plane = 0; plane < table.record; ++plane) {
    for (uint64_t i = 0; i < table.count; ++i) planes.push_back(records[i * table.record + plane]);
  }
  return planes;
}

/// Four planes at a time: every record but the one of one byte is made of words.
void from_planes(std::string_view planes, const Table& table, char* records) {
  const uint64_t tile = std::max<uint64_t>(1, kTileBytes / table.record);
  const auto* const bytes = reinterpret_cast<const uint8_t*>(planes.data());
  for (uint64_t begin = 0; begin < table.count; begin += tile) {
    const uint64_t end = std::min(begin + tile, table.count);
    for (uint64_t plane = 0; plane < table.record; plane += sizeof(uint32_t)) {
      const uint8_t* const from = bytes + plane * table.count;
      for (uint64_t i = begin; i < end; ++i) {
        const uint8_t* const at = from + i;
        const uint32_t word = uint32_t{at[0]} | uint32_t{at[table.count]} << 8u | uint32_t{at[2 * table.count]} << 16u |
                              uint32_t{at[3 * table.count]} << 24u;
        store_le(records + i * table.record + plane, word);
      }
    }
  }
}

/// Appends one frame of all tables.
void append_frame(std::string& out, std::string_view plain, const std::vector<Table>& tables) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> zstd(::ZSTD_createCCtx(), &::ZSTD_freeCCtx);
  if (!zstd) throw std::bad_alloc();
  const auto must = [](size_t result) { CHECK_PROMISE(::ZSTD_isError(result) == 0); };
  must(::ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_compressionLevel, kCompressionLevel));
  must(::ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_windowLog, packed::kWindowLog));
  must(::ZSTD_CCtx_setPledgedSrcSize(zstd.get(), plain.size()));  // little memory for little
  std::string buffer(::ZSTD_CStreamOutSize(), '\0');
  for (size_t i = 0; i < tables.size(); ++i) {
    const std::string planes = to_planes(plain.substr(0, tables[i].bytes()), tables[i]);
    plain.remove_prefix(planes.size());
    const auto directive = i + 1 == tables.size() ? ZSTD_e_end : ZSTD_e_continue;
    ZSTD_inBuffer in{planes.data(), planes.size(), 0};
    for (size_t left = 1; left > 0;) {
      ZSTD_outBuffer to{buffer.data(), buffer.size(), 0};
      left = ::ZSTD_compressStream2(zstd.get(), &to, &in, directive);
      must(left);
      out.append(buffer, 0, to.pos);
      if (directive == ZSTD_e_continue) left = in.size - in.pos;
    }
  }
}

/// Gives exactly the bytes that are asked for, from one frame.
class FrameReader {
 public:
  explicit FrameReader(std::string_view frame)
      : zstd_(::ZSTD_createDCtx(), &::ZSTD_freeDCtx), in_{frame.data(), frame.size(), 0} {
    if (!zstd_) throw std::bad_alloc();
    const size_t set = ::ZSTD_DCtx_setParameter(zstd_.get(), ZSTD_d_windowLogMax, packed::kWindowLog);
    CHECK_PROMISE(::ZSTD_isError(set) == 0);
  }

  Result<> read(const Table& table, char* records) {
    if (table.record == 1) return fill(records, table.bytes());
    std::string planes;
    Result<> filled;
    const size_t size = table.bytes();
    planes.resize_and_overwrite(size, [this, size, &filled](char* buffer, size_t) {  // the other may be the capacity
      filled = fill(buffer, size);
      return filled ? size : size_t{0};
    });
    TRY_VOID(std::move(filled));
    from_planes(planes, table, records);
    return {};
  }

  /// The frame must have ended, with the last byte of its input.
  Result<> finish() {
    char spare = 0;
    ZSTD_outBuffer out{&spare, 1, 0};
    while (!ended_) {
      const size_t at = in_.pos;
      TRY_VOID(step(out));
      if (out.pos > 0) return broken("more tables than its counts say");
      if (!ended_ && in_.pos == at) return broken("a compressed table is cut");
    }
    return in_.pos == in_.size ? Result<>() : broken("bytes behind a compressed table");
  }

 private:
  Result<> fill(char* buffer, size_t size) {
    ZSTD_outBuffer out{buffer, size, 0};
    while (out.pos < size) {
      const size_t before = out.pos + in_.pos;
      if (ended_) return broken("fewer tables than its counts say");
      TRY_VOID(step(out));
      if (!ended_ && out.pos + in_.pos == before) return broken("a compressed table is cut");
    }
    return {};
  }

  Result<> step(ZSTD_outBuffer& out) {
    const size_t left = ::ZSTD_decompressStream(zstd_.get(), &out, &in_);
    if (::ZSTD_isError(left) != 0) return broken_zstd(left);
    ended_ = left == 0;
    return {};
  }

  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> zstd_;
  ZSTD_inBuffer in_;
  bool ended_ = false;
};

void append_checksum(std::string& out, size_t begin) {
  const Digest digest = Digest::of(std::string_view(out).substr(begin));
  out.append(reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize);
}

/// What stands before the frame of a packed index's places: their header and the packs.
uint64_t plain_place_bytes(uint32_t packs) {
  return format::kPlaceHeaderBytes + uint64_t{packs} * format::pack_entry_bytes(format::kVersion);
}

bool ratio_is_allowed(uint64_t plain, uint64_t stored) {
  return plain / kMaxPackedRatio <= stored;
}

/// The parts of a packed index, each where its head says.
struct Parts {
  std::string_view header;  // of the tree part
  std::string_view frame;   // the tree's tables
  std::string_view places;  // header and packs
  std::string_view place_frame;
};

Result<Parts> parts_of(std::string_view stored) {
  if (stored.size() < packed::kHeadBytes + format::kPlaceHeaderBytes + format::kPlaceTrailerBytes)
    return broken("too short");
  if (load_le<uint32_t>(stored, packed::kHeadBytesAt) != packed::kHeadBytes) return broken("wrong header size");
  if (load_le<uint64_t>(stored, packed::kReservedAt) != 0) return broken("reserved header bytes are not zero");
  Parts parts;
  parts.header = stored.substr(packed::kTreeHeaderAt, format::kHeaderBytes);
  const uint64_t end = stored.size() - format::kPlaceTrailerBytes;
  const auto frame_bytes = load_le<uint64_t>(stored, packed::kFrameBytesAt);
  if (frame_bytes > end - packed::kHeadBytes - format::kPlaceHeaderBytes) return broken("cut");
  parts.frame = stored.substr(packed::kHeadBytes, frame_bytes);
  const uint64_t begin = packed::kHeadBytes + frame_bytes;
  const std::string_view places = stored.substr(begin, end - begin);
  if (!places.starts_with(format::kPlaceMagic)) return broken("no table of places after the tree");
  if (load_le<uint32_t>(places, format::place::kVersionAt) != packed::kVersion)
    return broken("unknown version of the table of places");
  const uint64_t plain = plain_place_bytes(load_le<uint32_t>(places, format::place::kPacksAt));
  if (plain > places.size()) return broken("the table of places is cut");
  const Digest checksum = Digest::of(places);
  if (!std::ranges::equal(checksum.bytes(), stored.substr(end), {}, {}, [](char c) { return static_cast<uint8_t>(c); }))
    return broken("the table of places does not match its checksum");
  parts.places = places.substr(0, plain);
  parts.place_frame = places.substr(plain);
  return parts;
}

}  // namespace

bool is_packed_index(std::string_view stored) {
  return stored.size() >= packed::kHeadBytes && stored.starts_with(format::kTreeMagic) &&
         load_le<uint32_t>(stored, format::header::kVersionAt) == packed::kVersion;
}

std::string pack_index(std::string_view plain) {
  const std::string_view header = plain.substr(0, format::kHeaderBytes);
  const auto tables = tables_of(header);
  CHECK_PROMISE(tables && load_le<uint32_t>(header, format::header::kVersionAt) == format::kVersion);
  const auto tree_bytes = load_le<uint64_t>(header, format::header::kTreeBytesAt);
  std::string out(format::kTreeMagic);
  append_le(out, packed::kVersion);
  append_le(out, static_cast<uint32_t>(packed::kHeadBytes));
  out.resize(packed::kTreeHeaderAt, '\0');
  out += header;
  append_frame(out, plain.substr(format::kHeaderBytes, tree_bytes - format::kHeaderBytes), *tables);
  store_le(out.data() + packed::kFrameBytesAt, uint64_t{out.size() - packed::kHeadBytes});

  const std::string_view places = plain.substr(tree_bytes, plain.size() - tree_bytes - format::kPlaceTrailerBytes);
  const uint64_t plain_places = plain_place_bytes(load_le<uint32_t>(places, format::place::kPacksAt));
  const size_t begin = out.size();
  out += places.substr(0, plain_places);
  store_le(out.data() + begin + format::place::kVersionAt, packed::kVersion);
  const Table locations{load_le<uint32_t>(places, format::place::kChunksAt), format::location_bytes(format::kVersion)};
  CHECK_PROMISE(plain_places + locations.bytes() == places.size());
  append_frame(out, places.substr(plain_places), {locations});
  append_checksum(out, begin);
  return ratio_is_allowed(plain.size(), out.size()) ? out : std::string(plain);
}

Result<std::string> unpack_index(std::string_view stored) {
  TRY(const Parts parts, parts_of(stored));
  if (!parts.header.starts_with(format::kTreeMagic) ||
      load_le<uint32_t>(parts.header, format::header::kVersionAt) != format::kVersion) {
    return broken("a packed index of no tree of version 2");
  }
  TRY(const auto tables, tables_of(parts.header));
  const auto tree_bytes = load_le<uint64_t>(parts.header, format::header::kTreeBytesAt);
  const Table locations{load_le<uint32_t>(parts.header, format::header::kChunksAt),
                        format::location_bytes(format::kVersion)};
  // Two terms below 2^38 and one that is compared first: no sum overflows.
  if (tree_bytes > kMaxIndexBytes) return broken("larger than the limit");
  const uint64_t size = tree_bytes + parts.places.size() + locations.bytes();
  if (size > kMaxIndexBytes) return broken("larger than the limit");
  if (!ratio_is_allowed(size, stored.size())) return broken("larger than so few bytes may become");

  std::string plain;
  Result<> done;
  plain.resize_and_overwrite(size, [&](char* at, size_t) {
    done = [&]() -> Result<> {
      at = std::ranges::copy(parts.header, at).out;
      FrameReader tree(parts.frame);
      for (const Table& table : tables) {
        TRY_VOID(tree.read(table, at));
        at += table.bytes();
      }
      TRY_VOID(tree.finish());
      char* const places = at;
      at = std::ranges::copy(parts.places, at).out;
      store_le(places + format::place::kVersionAt, format::kVersion);
      FrameReader chunks(parts.place_frame);
      TRY_VOID(chunks.read(locations, at));
      return chunks.finish();
    }();
    return done ? size : 0;
  });
  TRY_VOID(std::move(done));
  return plain;
}

}  // namespace hearth::image
