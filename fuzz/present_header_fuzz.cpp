// Any bytes as the header of a presence file: refused, or read back as they are.
#include "mount/present_map.hpp"

#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hearth::mount::decode_present_header;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (const auto header = decode_present_header(bytes)) {
    const auto again = decode_present_header(hearth::mount::encode(*header));
    CHECK_PROMISE(again && *again == *header);
    (void)hearth::mount::decode_last_used(bytes);
  }
  // The checksum keeps a fuzzer from the rest: mend it.
  if (bytes.size() < hearth::mount::kPresentHeaderBytes) bytes.resize(hearth::mount::kPresentHeaderBytes);
  constexpr size_t kCheckedBytes = 128;
  const auto checksum = hearth::Digest::of(std::string_view(bytes).substr(0, kCheckedBytes));
  bytes.replace(kCheckedBytes, hearth::Digest::kSize, std::string(checksum.bytes().begin(), checksum.bytes().end()));
  if (const auto header = decode_present_header(bytes)) {
    CHECK_PROMISE(header->plain_size % 4096 == 0 && header->file_bytes() < (uint64_t{1} << 20));
    const auto again = decode_present_header(hearth::mount::encode(*header));
    CHECK_PROMISE(again && *again == *header);
  }
  return 0;
}
