#include "image/layer_packs.hpp"

#include "base/little_endian.hpp"
#include "image/layer_format.hpp"

#include <array>
#include <cstring>
#include <string>

namespace hearth::image {
namespace {

/// Bytes of an entry, by version of the table.
struct Sizes {
  uint32_t version;
  uint64_t pack;
  uint64_t place;
};
constexpr std::array kSizes{Sizes{1, 40, 24}, Sizes{2, 48, 32}};

constexpr size_t kVersionAt = 8, kPacksAt = 12, kChunksAt = 16;  // in the table's header
constexpr size_t kPackSizeAt = Digest::kSize;                    // in a pack's entry

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
  const auto version = load_le<uint32_t>(places, kVersionAt);
  if (version == 0 || version > kSizes.size()) {
    return broken("version " + std::to_string(version) + " of the table of places is not known to this program");
  }
  const Sizes& sizes = kSizes.at(version - 1);
  const auto packs = load_le<uint32_t>(places, kPacksAt);
  const auto chunks = load_le<uint32_t>(places, kChunksAt);
  const uint64_t trailer = format::kPlaceHeaderBytes + packs * sizes.pack + chunks * sizes.place;
  if (trailer + format::kPlaceTrailerBytes != places.size()) return broken("the table of places has the wrong size");
  if (load_digest(places, trailer) != Digest::of(places.substr(0, trailer))) {
    return broken("the table of places does not match its checksum");
  }
  std::vector<LayerPacks::Pack> list;
  list.reserve(packs);
  for (uint32_t i = 0; i < packs; ++i) {
    const std::string_view entry = places.substr(format::kPlaceHeaderBytes + i * sizes.pack, sizes.pack);
    list.push_back({load_digest(entry, 0), load_le<uint64_t>(entry, kPackSizeAt)});
  }
  return list;
}

Result<LayerPacks> read_layer_packs(blob::ObjectStore& store, const blob::ObjectInfo& index) {
  if (index.size < format::kHeaderBytes) return broken("too short");
  TRY(const std::string header, store.get_range(index.key, 0, format::kHeaderBytes));
  if (!header.starts_with(format::kTreeMagic)) return broken("not a layer index (wrong magic)");
  const auto tree_bytes = load_le<uint64_t>(header, format::header::kTreeBytesAt);
  if (tree_bytes < format::kHeaderBytes || tree_bytes > index.size) return broken("its size does not match");
  TRY(const std::string places, store.get_range(index.key, tree_bytes, index.size - tree_bytes));
  LayerPacks out;
  TRY(out.packs, decode_pack_list(places));
  out.content_bytes = load_le<uint64_t>(header, format::header::kContentAt);
  return out;
}

}  // namespace hearth::image
