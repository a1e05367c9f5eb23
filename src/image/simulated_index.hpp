// A simulated layer index, for tests: nothing but a header and a table of places, which is all that garbage collection
// reads.
#pragma once

#include "base/digest.hpp"
#include "base/little_endian.hpp"
#include "image/layer_format.hpp"
#include "image/layer_packs.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

inline constexpr uint64_t kSimulatedPackBytes = 4;

inline std::string simulated_index(const std::vector<Digest>& packs) {
  std::string bytes(format::kTreeMagic);
  bytes.resize(format::kHeaderBytes, '\0');
  store_le<uint64_t>(bytes.data() + format::header::kTreeBytesAt, format::kHeaderBytes);
  std::string places(format::kPlaceMagic);
  append_le(places, uint32_t{1});
  append_le(places, static_cast<uint32_t>(packs.size()));
  append_le(places, uint64_t{0});
  for (const Digest& pack : packs) {
    places.append(reinterpret_cast<const char*>(pack.bytes().data()), Digest::kSize);
    append_le(places, kSimulatedPackBytes);
  }
  const Digest check = Digest::of(places);
  places.append(reinterpret_cast<const char*>(check.bytes().data()), Digest::kSize);
  return bytes + places;
}

/// The packs of a simulated index.
inline std::vector<Digest> packs_of_index(const std::string& index) {
  const auto packs = decode_pack_list(std::string_view(index).substr(format::kHeaderBytes)).value();
  std::vector<Digest> digests;
  for (const LayerPacks::Pack& pack : packs) digests.push_back(pack.digest);
  return digests;
}

}  // namespace hearth::image
