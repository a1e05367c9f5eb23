// Bytes of a hostile Redis through the decoder, in one piece and in pieces: both have to see the same values.
#include "redis/resp.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

void show(const hearth::redis::RespValue& value, std::string& out) {
  out += static_cast<char>('a' + static_cast<int>(value.kind));
  out += value.text + ":" + std::to_string(value.integer) + "[";
  for (const auto& item : value.items) show(item, out);
  out += "]";
}

std::string decode(std::string_view bytes, size_t step) {
  hearth::redis::RespDecoder decoder({.bulk_bytes = 4096, .line_bytes = 512, .items = 1000, .depth = 8});
  std::string seen;
  while (true) {
    auto value = decoder.next();
    if (!value) return seen + "!";
    if (*value) {
      show(**value, seen);
    } else if (bytes.empty()) {
      return seen;
    } else {
      decoder.feed(bytes.substr(0, step));
      bytes.remove_prefix(std::min(step, bytes.size()));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  CHECK_PROMISE(decode(bytes, bytes.size() + 1) == decode(bytes, size_t{1} + data[0] % 16));
  return 0;
}
