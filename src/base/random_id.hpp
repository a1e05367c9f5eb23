// Random identifiers and secrets from the kernel's generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hearth {

/// `bytes` random bytes from getrandom(2). Safe for secrets.
std::string random_bytes(size_t bytes);
uint64_t random_u64();
/// Lower-case letters and digits (base 32 without i, l, o, u), `length` of them: for request ids, replica ids.
std::string random_id(size_t length = 16);

}  // namespace hearth
