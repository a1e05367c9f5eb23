#include "catalog/api_key.hpp"

#include "base/random_id.hpp"
#include "base/trimmed.hpp"
#include "catalog/json_fields.hpp"
#include "catalog/record_json.hpp"

#include <nlohmann/json.hpp>

namespace hearth::catalog {
namespace {

constexpr size_t kSecretBytes = 32;

std::string base64url(std::string_view bytes) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += kAlphabet[(bits >> (count - 6)) & 63];
  }
  if (count > 0) out += kAlphabet[(bits << (6 - count)) & 63];
  return out;
}

bool is_bearer(std::string_view word) {
  constexpr std::string_view kBearer = "bearer";
  if (word.size() != kBearer.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if ((word[i] | 0x20) != kBearer[i]) return false;
  }
  return true;
}

}  // namespace

std::string random_key_secret() {
  return "hk_" + base64url(random_bytes(kSecretBytes));
}

std::string_view key_from_authorization(std::string_view header) {
  header = trimmed(header);
  const size_t blank = header.find(' ');
  if (blank == std::string_view::npos || !is_bearer(header.substr(0, blank))) return header;
  return trimmed(header.substr(blank + 1));
}

std::string api_key_to_json(const ApiKey& key) {
  return dump({{"format", 1},
               {"id", key.id},
               {"name", key.name},
               {"workspace", key.workspace},
               {"created", to_iso8601(key.created)}});
}

Result<ApiKey> api_key_from_json(std::string_view text) {
  TRY(const nlohmann::json value, parse_stored(text, "key record"));
  ApiKey key;
  JsonFields fields(value, "key record");
  fields.read("id", key.id);
  fields.read("name", key.name);
  fields.read("workspace", key.workspace);
  fields.read("created", key.created);
  TRY_VOID(fields.result());
  return key;
}

}  // namespace hearth::catalog
