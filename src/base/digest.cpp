#include "base/digest.hpp"

#include <openssl/evp.h>

#include <optional>

namespace hearth {

namespace {

/// Looked up once: OpenSSL takes locks to find an algorithm by name, at every start of a digest.
const EVP_MD* sha256() {
  static const EVP_MD* const kAlgorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return kAlgorithm;
}

}  // namespace

struct DigestHasher::State {
  struct Free {
    void operator()(EVP_MD_CTX* raw) const { EVP_MD_CTX_free(raw); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
  void start() { CHECK_PROMISE(EVP_DigestInit_ex(context.get(), sha256(), nullptr) == 1); }
};

DigestHasher::DigestHasher() : state_(std::make_unique<State>()) {
  state_->start();
}
DigestHasher::~DigestHasher() = default;
DigestHasher::DigestHasher(DigestHasher&&) noexcept = default;
DigestHasher& DigestHasher::operator=(DigestHasher&&) noexcept = default;

void DigestHasher::update(std::string_view bytes) {
  CHECK_PROMISE(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Digest DigestHasher::finish() {
  std::array<uint8_t, Digest::kSize> bytes{};
  unsigned int size = 0;
  CHECK_PROMISE(EVP_DigestFinal_ex(state_->context.get(), bytes.data(), &size) == 1 && size == bytes.size());
  state_->start();
  return Digest(bytes);
}

Digest Digest::of(std::string_view bytes) {
  thread_local DigestHasher hasher;  // finish() makes it ready for the next
  hasher.update(bytes);
  return hasher.finish();
}

namespace {

std::optional<uint8_t> hex_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  return std::nullopt;
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  std::string_view digits = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text;
  if (digits.size() != 2 * kSize) {
    return fail(ErrorCode::invalid_argument, "not a sha256 digest: '" + std::string(text.substr(0, 80)) + "'");
  }
  std::array<uint8_t, kSize> bytes{};
  for (size_t i = 0; i < kSize; ++i) {
    auto high = hex_value(digits[2 * i]);
    auto low = hex_value(digits[2 * i + 1]);
    if (!high || !low) {
      return fail(ErrorCode::invalid_argument, "not a sha256 digest: '" + std::string(text.substr(0, 80)) + "'");
    }
    bytes[i] = static_cast<uint8_t>((*high << 4) | *low);
  }
  return Digest(bytes);
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char c : bytes) {
    auto byte = static_cast<unsigned char>(c);
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::string Digest::hex() const {
  return to_hex(std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
}

std::string Digest::to_string() const {
  return "sha256:" + hex();
}

}  // namespace hearth
