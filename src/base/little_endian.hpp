// Little-endian integers in byte strings: what every Hearth format and protocol is made of.
#pragma once

#include <concepts>
#include <cstring>
#include <string>
#include <string_view>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Hearth runs on little-endian machines");

namespace hearth {

template <std::integral T>
void append_le(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

/// The caller has checked that offset + sizeof(T) lies inside the bytes.
template <std::integral T>
T load_le(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <std::integral T>
void store_le(char* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

}  // namespace hearth
