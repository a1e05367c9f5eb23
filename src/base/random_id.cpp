#include "base/random_id.hpp"

#include "base/result.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

namespace hearth {

std::string random_bytes(size_t bytes) {
  std::string out(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::getrandom(out.data() + done, bytes - done, 0);
    CHECK_PROMISE(got > 0 || errno == EINTR);
    if (got > 0) done += static_cast<size_t>(got);
  }
  return out;
}

uint64_t random_u64() {
  uint64_t value = 0;
  const std::string bytes = random_bytes(sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string random_id(size_t length) {
  static constexpr char kAlphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string out = random_bytes(length);
  for (char& c : out) c = kAlphabet[static_cast<unsigned char>(c) & 31];
  return out;
}

}  // namespace hearth
