// URLs that a CDN or cache accepts until they expire: an HMAC over path and time (docs/stores.md). Pure.
#pragma once

#include "base/clock.hpp"

#include <string>
#include <string_view>

namespace hearth::blob {

/// Expiry times are multiples of this, so that one object keeps one URL for a while and caches can keep its answer.
inline constexpr std::chrono::seconds kSignedUrlStep{300};
/// A URL is good for at least this long.
inline constexpr std::chrono::seconds kSignedUrlLife{900};

/// When a URL made now expires, in seconds since 1970.
int64_t signed_url_expiry(WallTime now);

/// "expires=1767225600&signature=…": the signature is HMAC-SHA-256 of "PATH\nEXPIRES" in lower-case hex, where PATH is
/// the path of the URL as it is sent, percent-encoded.
std::string signed_url_query(std::string_view secret, std::string_view path, int64_t expires);

}  // namespace hearth::blob
