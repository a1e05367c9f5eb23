// Any bytes as a pack. A table that is accepted covers the pack without gap, and writing it again gives the same bytes.
#include "image/pack_table.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view pack(reinterpret_cast<const char*>(data), size);
  const auto table = hearth::image::read_pack_table(pack);
  if (!table) return 0;
  hearth::image::PackTableWriter writer;
  for (const auto& entry : table->entries) {
    CHECK_PROMISE(entry.offset == writer.stored_size() && entry.plain_offset == writer.plain_size());
    writer.add({entry.digest, entry.length}, entry.stored_length, entry.encoding);
  }
  CHECK_PROMISE(writer.plain_size() == table->plain_size);
  const uint64_t begin = writer.stored_size();
  CHECK_PROMISE(pack.substr(begin) == writer.finish());
  return 0;
}
