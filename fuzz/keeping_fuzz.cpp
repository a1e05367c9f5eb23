// Any bytes as the records by which writers and garbage collection speak to each other through the store.
#include "blob/keeping.hpp"
#include "image/layer_leases.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto intent = hearth::blob::parse_intent_record(bytes)) {
    CHECK_PROMISE(hearth::blob::parse_intent_record(hearth::blob::intent_record_json(*intent)).has_value());
  }
  if (const auto lease = hearth::image::parse_lease_record(bytes)) {
    CHECK_PROMISE(hearth::image::parse_lease_record(hearth::image::lease_record_json(*lease))->layers == lease->layers);
  }
  for (const char* name : {"objects-0", "seen", "delete-run-0"}) {
    hearth::blob::CondemnedMark mark{.scope = "shared", .id = "m"};
    (void)hearth::blob::add_mark_record(mark, name, bytes);
  }
  return 0;
}
