#include "image/layer_packs.hpp"

#include "base/little_endian.hpp"
#include "image/layer_format.hpp"
#include "image/packed_index.hpp"

#include <array>
#include <cstring>
#include <string>

namespace hearth::image {
namespace {

constexpr size_t kPackSizeAt = Digest::kSize;  // in a pack's entry
/// The shortest index: a packed head, or a plain tree with one inode, is this long.
constexpr size_t kHeadBytes = format::packed::kHeadBytes;

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "layer index: " + std::string(rule));
}

Digest load_digest(std::string_view bytes, size_t offset) {
  std::array<uint8_t, Digest::kSize> value{};
  std::memcpy(value.data(), bytes.data() + offset, value.size());
  return Digest(value);
}

}  // namespace

Result<std::vector<LayerPacks::Pack>> decode_pack_list(std::string_view places) {
  if (places.size() < format::kPlaceHeaderBytes + format::kPlaceTrailerBytes)
    return broken("the table of places is cut");
  if (!places.starts_with(format::kPlaceMagic)) return broken("no table of places after the tree");
  const auto version = load_le<uint32_t>(places, format::place::kVersionAt);
  if (version < format::kOldestVersion || version > format::packed::kVersion) {
    return broken("version " + std::to_string(version) + " of the table of places is not known to this program");
  }
  const uint64_t pack_bytes = format::pack_entry_bytes(version);
  const auto packs = load_le<uint32_t>(places, format::place::kPacksAt);
  const auto chunks = load_le<uint32_t>(places, format::place::kChunksAt);
  const uint64_t trailer = places.size() - format::kPlaceTrailerBytes;
  const uint64_t packs_end = format::kPlaceHeaderBytes + packs * pack_bytes;
  // Of a packed table only the checksum says how long it is.
  const bool fits = version == format::packed::kVersion
                        ? packs_end <= trailer
                        : packs_end + chunks * format::location_bytes(version) == trailer;
  if (!fits) return broken("the table of places has the wrong size");
  if (load_digest(places, trailer) != Digest::of(places.substr(0, trailer))) {
    return broken("the table of places does not match its checksum");
  }
  std::vector<LayerPacks::Pack> list;
  list.reserve(packs);
  for (uint32_t i = 0; i < packs; ++i) {
    const std::string_view entry = places.substr(format::kPlaceHeaderBytes + i * pack_bytes, pack_bytes);
    list.push_back({load_digest(entry, 0), load_le<uint64_t>(entry, kPackSizeAt)});
  }
  return list;
}

Result<LayerPacks> read_layer_packs(blob::ObjectStore& store, const blob::ObjectInfo& index) {
  if (index.size < kHeadBytes) return broken("too short");
  TRY(const std::string head, store.get_range(index.key, 0, kHeadBytes));
  if (head.size() != kHeadBytes) return broken("too short");
  if (!head.starts_with(format::kTreeMagic)) return broken("not a layer index (wrong magic)");
  const bool packed = is_packed_index(head);
  const std::string_view header = std::string_view(head).substr(packed ? format::packed::kTreeHeaderAt : 0);
  const auto tree_bytes = packed ? load_le<uint64_t>(head, format::packed::kFrameBytesAt)
                                 : load_le<uint64_t>(header, format::header::kTreeBytesAt);
  const uint64_t before = packed ? kHeadBytes : 0;
  if (tree_bytes > index.size - before || before + tree_bytes < format::kHeaderBytes)
    return broken("its size does not match");
  const uint64_t places_at = before + tree_bytes;
  TRY(const std::string places, store.get_range(index.key, places_at, index.size - places_at));
  LayerPacks out;
  TRY(out.packs, decode_pack_list(places));
  out.content_bytes = load_le<uint64_t>(header, format::header::kContentAt);
  return out;
}

}  // namespace hearth::image
