// Keys of callers: "hk_" and 256 random bits, shown once, stored only as SHA-256.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"

#include <string>
#include <string_view>

namespace hearth::catalog {

/// What is known of a key without the key.
struct ApiKey {
  std::string id;    // short and public: for listing and revoking
  std::string name;  // the owner's words
  std::string workspace;
  WallTime created;
};

struct NewApiKey {
  ApiKey key;
  std::string secret;  // the only time it is seen
};

/// A fresh secret: "hk_" and 43 base64url characters.
std::string random_key_secret();

/// What a key is looked up by.
inline Digest key_digest(std::string_view secret) {
  return Digest::of(secret);
}

/// "Bearer hk_…" or "hk_…" → "hk_…"; the value of an Authorization header. Surrounding blanks are dropped.
std::string_view key_from_authorization(std::string_view header);

std::string api_key_to_json(const ApiKey& key);
Result<ApiKey> api_key_from_json(std::string_view json);

}  // namespace hearth::catalog
