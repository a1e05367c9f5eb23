#include "build/secret_mask.hpp"

#include <algorithm>

namespace hearth::build {
namespace {

constexpr std::string_view kStars = "****";
constexpr size_t kSecretMin = 4;  // shorter ones would blot out half of every line, and are in no use

bool ends_authority(char c) {
  return c == '/' || c == '?' || c == '#' || c == '"' || c == '\'' || c == '>' || c == ']' ||
         static_cast<unsigned char>(c) <= ' ';
}

struct UserPart {
  size_t begin = 0;
  size_t end = 0;  // of the '@'
};

/// The next "user:password" or "token" of a URL from `from` on; begin == npos without.
UserPart next_user_part(std::string_view text, size_t from) {
  while (true) {
    const size_t scheme = text.find("://", from);
    if (scheme == std::string_view::npos) return {std::string_view::npos, 0};
    const size_t begin = scheme + 3;
    size_t end = begin;
    while (end < text.size() && !ends_authority(text[end])) ++end;
    const size_t at = text.substr(begin, end - begin).rfind('@');
    if (at != std::string_view::npos) return {begin, begin + at};
    from = begin;
  }
}

std::string url_decoded(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 2]));
    out += escape ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

}  // namespace

void SecretMask::add(std::string secret) {
  if (secret.size() < kSecretMin || std::ranges::find(secrets_, secret) != secrets_.end()) return;
  secrets_.push_back(std::move(secret));
  std::ranges::sort(secrets_, std::ranges::greater(), &std::string::size);
}

void SecretMask::learn(std::string_view text) {
  for (UserPart part = next_user_part(text, 0); part.begin != std::string_view::npos;
       part = next_user_part(text, part.end)) {
    const std::string_view user = text.substr(part.begin, part.end - part.begin);
    const size_t colon = user.find(':');
    const std::string_view secret = colon == std::string_view::npos ? user : user.substr(colon + 1);
    add(std::string(secret));
    add(url_decoded(secret));
  }
  constexpr std::string_view kPassword = "password";  // netrc and apt's auth.conf
  for (size_t at = text.find(kPassword); at != std::string_view::npos; at = text.find(kPassword, at + 1)) {
    size_t begin = at + kPassword.size();
    while (begin < text.size() && (text[begin] == ' ' || text[begin] == '\t' || text[begin] == '\n')) ++begin;
    size_t end = begin;
    while (end < text.size() && static_cast<unsigned char>(text[end]) > ' ') ++end;
    add(std::string(text.substr(begin, end - begin)));
  }
}

std::string SecretMask::masked(std::string_view line) const {
  std::string out;
  size_t copied = 0;
  for (UserPart part = next_user_part(line, 0); part.begin != std::string_view::npos;
       part = next_user_part(line, part.end)) {
    out.append(line, copied, part.begin - copied);
    out += kStars;
    copied = part.end;
  }
  out.append(line, copied);
  for (const std::string& secret : secrets_) {
    for (size_t at = out.find(secret); at != std::string::npos; at = out.find(secret, at + kStars.size())) {
      out.replace(at, secret.size(), kStars);
    }
  }
  return out;
}

}  // namespace hearth::build
