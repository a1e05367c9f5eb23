// Keyed and public-key signatures over bytes: what object stores and signed URLs ask for.
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace hearth {

/// HMAC-SHA-256: 32 raw bytes.
std::string hmac_sha256(std::string_view key, std::string_view message);

/// RS256 (RSASSA-PKCS1-v1_5 with SHA-256) with a private key in PEM (PKCS#8 or PKCS#1, not encrypted). Raw bytes.
/// invalid_argument when that is no RSA key; the message never holds a part of it.
Result<std::string> sign_rs256(std::string_view private_key_pem, std::string_view message);

}  // namespace hearth
