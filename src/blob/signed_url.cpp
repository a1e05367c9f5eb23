#include "blob/signed_url.hpp"

#include "base/digest.hpp"
#include "base/hmac.hpp"

namespace hearth::blob {

int64_t signed_url_expiry(WallTime now) {
  const int64_t earliest = to_unix_us(now) / 1'000'000 + kSignedUrlLife.count();
  const int64_t step = kSignedUrlStep.count();
  return (earliest + step - 1) / step * step;
}

std::string signed_url_query(std::string_view secret, std::string_view path, int64_t expires) {
  const std::string time = std::to_string(expires);
  const std::string signature = to_hex(hmac_sha256(secret, std::string(path) + "\n" + time));
  return "expires=" + time + "&signature=" + signature;
}

}  // namespace hearth::blob
