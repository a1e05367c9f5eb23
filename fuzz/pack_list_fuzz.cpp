// Any bytes as the table of places at the end of a layer index: read for its packs alone, by garbage collection.
#include "base/digest.hpp"
#include "image/layer_packs.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string places(reinterpret_cast<const char*>(data), size);
  // The checksum is put right, so that the fuzzer gets past it.
  if (places.size() >= hearth::Digest::kSize) {
    const size_t trailer = places.size() - hearth::Digest::kSize;
    const auto digest = hearth::Digest::of(std::string_view(places).substr(0, trailer));
    std::memcpy(places.data() + trailer, digest.bytes().data(), hearth::Digest::kSize);
  }
  const auto packs = hearth::image::decode_pack_list(places);
  CHECK_PROMISE(!packs || packs->size() * hearth::Digest::kSize <= size);
  return 0;
}
