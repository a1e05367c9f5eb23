#include "wire/frame.hpp"

#include "base/little_endian.hpp"

namespace hearth::wire {
namespace {

template <class T>
T field(const char* entry, size_t offset) {
  return load_le<T>(std::string_view(entry, offset + sizeof(T)), offset);
}

std::string_view take(std::string_view& payloads, size_t length) {
  const std::string_view taken = payloads.substr(0, length);
  payloads.remove_prefix(taken.size());
  return taken;
}

}  // namespace

void read_entry(const char* entry, std::string_view& payloads, Request& out) {
  out.id = field<uint64_t>(entry, 0);
  out.target = field<uint32_t>(entry, 8);
  out.payload_len = field<uint32_t>(entry, 12);
  out.deadline_ms = field<uint32_t>(entry, 16);
  out.kind = RequestKind{field<uint8_t>(entry, 20)};
  out.payload = take(payloads, out.payload_len);
}

void read_entry(const char* entry, std::string_view& payloads, ResultView& out) {
  out.id = field<uint64_t>(entry, 0);
  out.status = Status{field<uint8_t>(entry, 8)};
  out.flags = field<uint8_t>(entry, 9);
  out.batch = field<uint16_t>(entry, 10);
  out.value_len = field<uint32_t>(entry, 12);
  out.stdout_len = field<uint32_t>(entry, 16);
  out.stderr_len = field<uint32_t>(entry, 20);
  out.run_us = field<uint32_t>(entry, 24);
  out.cpu_us = field<uint32_t>(entry, 28);
  out.wait_us = field<uint32_t>(entry, 32);
  out.rss_kib = field<uint32_t>(entry, 36);
  out.value = take(payloads, out.value_len);
  out.stdout_text = take(payloads, out.stdout_len);
  out.stderr_text = take(payloads, out.stderr_len);
}

void read_entry(const char* entry, std::string_view&, CreditEntry& out) {
  out.target = field<uint32_t>(entry, 0);
  out.limit = field<uint32_t>(entry, 4);
}

void read_entry(const char* entry, std::string_view&, IdEntry& out) {
  out.id = field<uint64_t>(entry, 0);
}

void read_entry(const char* entry, std::string_view& payloads, Progress& out) {
  out.id = field<uint64_t>(entry, 0);
  out.payload_len = field<uint32_t>(entry, 8);
  out.payload = take(payloads, out.payload_len);
}

}  // namespace hearth::wire
