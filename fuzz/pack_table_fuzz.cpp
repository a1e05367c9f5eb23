// Any bytes as a pack. A table that is accepted covers the pack without gap, and writing it again gives the same bytes.
#include "base/digest.hpp"
#include "image/pack_table.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace {

/// The checksum is put right, so that the fuzzer gets past it.
void mend_checksum(std::string& pack) {
  const auto bytes = hearth::image::pack_table_bytes(pack);
  if (!bytes || *bytes > pack.size()) return;
  const size_t begin = pack.size() - *bytes;
  const size_t trailer = pack.size() - hearth::image::kPackTrailerBytes;
  const auto digest = hearth::Digest::of(std::string_view(pack).substr(begin, trailer - begin));
  std::memcpy(pack.data() + trailer, digest.bytes().data(), hearth::Digest::kSize);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string pack(reinterpret_cast<const char*>(data), size);
  mend_checksum(pack);
  const auto table = hearth::image::read_pack_table(pack, pack.size());
  if (!table) return 0;
  hearth::image::PackTableWriter writer;
  for (const auto& entry : table->entries) {
    CHECK_PROMISE(entry.offset == writer.stored_size() && entry.plain_offset == writer.plain_size());
    writer.add({entry.digest, entry.length}, entry.stored_length, entry.encoding);
  }
  CHECK_PROMISE(writer.plain_size() == table->plain_size);
  const uint64_t begin = writer.stored_size();
  CHECK_PROMISE(std::string_view(pack).substr(begin) == writer.finish());
  return 0;
}
