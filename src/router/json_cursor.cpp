#include "router/json_cursor.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <bit>

namespace hearth::router {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// First byte that is not a plain ASCII character of a string: quote, backslash, control or part of UTF-8.
const char* find_special(const char* at, const char* end) {
#if defined(__SSE2__)
  constexpr ptrdiff_t kStep = 16;
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i space = _mm_set1_epi8(' ');
  while (end - at >= kStep) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    // Signed comparison: bytes from 0x80 on are negative, so they are "below space" as controls are.
    const __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                                         _mm_cmplt_epi8(bytes, space));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(special));
    if (mask != 0) return at + std::countr_zero(mask);
    at += kStep;
  }
#endif
  while (at < end && *at != '"' && *at != '\\' && static_cast<uint8_t>(*at - 0x20) < 0x60) ++at;
  return at;
}

uint8_t byte(const char* at) {
  return static_cast<uint8_t>(*at);
}

}  // namespace

bool JsonCursor::fail(const char* expected) {
  if (expected_ == nullptr) expected_ = expected;
  return false;
}

std::string JsonCursor::error() const {
  return "at byte " + std::to_string(at_ - begin_) + ": " + (expected_ == nullptr ? "unexpected text" : expected_);
}

bool JsonCursor::expect(char c) {
  if (consume(c)) return true;
  switch (c) {
    case ':':
      return fail("expected ':'");
    case '{':
      return fail("expected an object");
    case '}':
      return fail("expected ',' or '}'");
    case ']':
      return fail("expected ',' or ']'");
    default:
      return fail("expected another character");
  }
}

bool JsonCursor::enter() {
  if (++depth_ <= kMaxDepth) return true;
  return fail("nested too deeply (more than 512 levels)");
}

bool JsonCursor::value(std::string_view& span) {
  skip_space();
  const char* start = at_;
  if (!skip_value()) return false;
  span = {start, static_cast<size_t>(at_ - start)};
  return true;
}

bool JsonCursor::string(std::string_view& span) {
  if (peek() != '"') return fail("expected a string");
  const char* start = at_;
  if (!skip_string()) return false;
  span = {start, static_cast<size_t>(at_ - start)};
  return true;
}

bool JsonCursor::skip_value() {
  switch (peek()) {
    case '[':
      return skip_array();
    case '{':
      return skip_object();
    case '"':
      return skip_string();
    case 't':
      return skip_literal("true");
    case 'f':
      return skip_literal("false");
    case 'n':
      return skip_literal("null");
    default:
      return skip_number();
  }
}

bool JsonCursor::skip_array() {
  ++at_;
  if (!enter()) return false;
  if (!consume(']')) {
    do {
      if (!skip_value()) return false;
    } while (consume(','));
    if (!expect(']')) return false;
  }
  leave();
  return true;
}

bool JsonCursor::skip_object() {
  ++at_;
  if (!enter()) return false;
  if (!consume('}')) {
    do {
      if (peek() != '"') return fail("expected a key in quotes");
      if (!skip_string() || !expect(':') || !skip_value()) return false;
    } while (consume(','));
    if (!expect('}')) return false;
  }
  leave();
  return true;
}

bool JsonCursor::skip_string() {
  ++at_;
  while (true) {
    at_ = find_special(at_, end_);
    if (at_ == end_) return fail("the string does not end");
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ == '\\') {
      if (!skip_escape()) return false;
    } else if (byte(at_) >= 0x80) {
      if (!skip_utf8()) return false;
    } else {
      return fail("control characters in a string must be escaped");
    }
  }
}

bool JsonCursor::skip_escape() {
  if (end_ - at_ < 2) return fail("the string does not end");
  switch (at_[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      at_ += 2;
      return true;
    case 'u':
      if (end_ - at_ < 6) return fail("the string does not end");
      for (int i = 2; i < 6; ++i) {
        if (!is_hex(at_[i])) return fail("\\u needs four hexadecimal digits");
      }
      at_ += 6;  // lone surrogates pass: JavaScript and Python both send them
      return true;
    default:
      return fail("unknown escape");
  }
}

/// One character of two to four bytes: RFC 3629, so no overlong forms, no surrogates, nothing above U+10FFFF.
bool JsonCursor::skip_utf8() {
  const uint8_t first = byte(at_);
  size_t size = 0;
  uint8_t low = 0x80;  // what the second byte may be
  uint8_t high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return fail("not UTF-8");
  }
  if (static_cast<size_t>(end_ - at_) < size) return fail("not UTF-8");
  if (byte(at_ + 1) < low || byte(at_ + 1) > high) return fail("not UTF-8");
  for (size_t i = 2; i < size; ++i) {
    if ((byte(at_ + i) & 0xC0) != 0x80) return fail("not UTF-8");
  }
  at_ += size;
  return true;
}

bool JsonCursor::skip_literal(std::string_view word) {
  if (std::string_view(at_, static_cast<size_t>(end_ - at_)).starts_with(word)) {
    at_ += word.size();
    return true;
  }
  return fail("expected a value");
}

bool JsonCursor::skip_number() {
  const char* at = at_;
  const auto digits = [&at, this] {
    const char* start = at;
    while (at < end_ && is_digit(*at)) ++at;
    return at > start;
  };
  if (at < end_ && *at == '-') ++at;
  const bool leading_zero = at < end_ && *at == '0';
  if (!digits()) return fail(at == at_ ? "expected a value" : "a number needs a digit here");
  if (leading_zero && at - at_ > (*at_ == '-' ? 2 : 1)) return fail("a number must not begin with 0");
  if (at < end_ && *at == '.') {
    ++at;
    if (!digits()) return fail("a number needs a digit after its point");
  }
  if (at < end_ && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at < end_ && (*at == '+' || *at == '-')) ++at;
    if (!digits()) return fail("a number needs a digit in its exponent");
  }
  at_ = at;
  return true;
}

bool is_json(std::string_view text) {
  JsonCursor cursor(text);
  std::string_view value;
  return cursor.value(value) && cursor.at_end();
}

}  // namespace hearth::router
