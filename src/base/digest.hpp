// SHA-256 digests: the identity of every chunk, pack, layer and upload.
#pragma once

#include "base/result.hpp"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hearth {

class Digest {
 public:
  static constexpr size_t kSize = 32;

  Digest() = default;
  explicit Digest(const std::array<uint8_t, kSize>& bytes) : bytes_(bytes) {}

  /// SHA-256 of the bytes.
  static Digest of(std::string_view bytes);
  /// Parses "sha256:<64 lower-case hex digits>", or the 64 digits alone.
  static Result<Digest> parse(std::string_view text);

  const std::array<uint8_t, kSize>& bytes() const { return bytes_; }
  std::string hex() const;        // 64 lower-case hex digits: the form used in object-store keys and file names
  std::string to_string() const;  // "sha256:" + hex(): the form used in JSON

  auto operator<=>(const Digest&) const = default;

 private:
  std::array<uint8_t, kSize> bytes_{};
};

/// Incremental SHA-256. Not thread-safe.
class DigestHasher {
 public:
  DigestHasher();
  ~DigestHasher();
  DigestHasher(DigestHasher&&) noexcept;
  DigestHasher& operator=(DigestHasher&&) noexcept;

  void update(std::string_view bytes);
  Digest finish();  // resets, so that the hasher can be used again

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string to_hex(std::string_view bytes);

}  // namespace hearth

template <>
struct std::hash<hearth::Digest> {
  size_t operator()(const hearth::Digest& digest) const noexcept {
    size_t value = 0;
    for (size_t i = 0; i < sizeof value; ++i) value = (value << 8) | digest.bytes()[i];
    return value;
  }
};
