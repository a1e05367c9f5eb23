// Bytes as text: percent-encoding for URLs and base64url for tokens.
#pragma once

#include <string>
#include <string_view>

namespace hearth {

enum class Slash { encode, keep };

/// RFC 3986: everything but letters, digits and "-._~" becomes %XX with upper-case digits; "/" stays when told.
std::string percent_encode(std::string_view text, Slash slash = Slash::encode);
/// The same back; a '%' that no two hex digits follow stays what it is.
std::string percent_decode(std::string_view text);

/// RFC 4648 section 5, without padding.
std::string base64url_encode(std::string_view bytes);

}  // namespace hearth
