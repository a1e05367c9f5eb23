// Any bytes as the plain tars of an image, one after another (a byte 0xF5 0xF6 0xF7 0xF8 between two): whatever the
// merge accepts can be encoded, and its index is accepted by the decoder.
#include "image/layer_encoder.hpp"
#include "image/layer_merger.hpp"
#include "mend_tar.hpp"
#include "oci/tar_reader.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view kBetween = "\xF5\xF6\xF7\xF8";

bool merge(hearth::image::LayerMerger& merger, std::string_view bytes) {
  std::string mended(bytes);
  mend_tar_checksums(mended, 0);
  hearth::oci::StringSource source(std::move(mended));
  hearth::oci::TarReader tar(source, {.entries = 500});
  std::vector<hearth::image::MergeEntry> entries;
  for (;;) {
    auto entry = tar.next();
    if (!entry) return false;
    if (!*entry) break;
    entries.push_back({.entry = std::move(**entry)});
  }
  return merger.apply(std::move(entries)).has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  hearth::image::FileTree tree;
  hearth::image::LayerMerger merger(tree);
  for (int layer = 0; layer < 8; ++layer) {
    const size_t end = std::min(rest.find(kBetween), rest.size());
    if (!merge(merger, rest.substr(0, end))) return 0;
    if (end == rest.size()) break;
    rest.remove_prefix(end + kBetween.size());
  }
  auto layer = hearth::image::encode_layer(tree, {});
  CHECK_PROMISE(layer.has_value());
  const auto index = hearth::image::LayerIndex::decode(std::move(layer->bytes));
  if (!index) hearth::broken_promise(index.error().message, __FILE__, __LINE__);
  CHECK_PROMISE(index->digest() == layer->digest);
  return 0;
}
