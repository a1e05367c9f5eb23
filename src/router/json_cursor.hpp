// Walks over JSON text and checks its syntax, without making values of it. Strict RFC 8259: UTF-8, no trailing commas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::router {

/// A position in a text. Functions return false at the first wrong byte; error() says what was expected there.
/// Nesting deeper than kMaxDepth is refused, so that hostile bodies cannot exhaust anybody's stack.
class JsonCursor {
 public:
  static constexpr uint32_t kMaxDepth = 512;

  explicit JsonCursor(std::string_view text) : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()) {}

  /// The next byte after white space, or 0 at the end.
  char peek() {
    skip_space();
    return at_ < end_ ? *at_ : '\0';
  }
  /// Steps over `c` if it is next.
  bool consume(char c) {
    if (peek() != c || at_ == end_) return false;
    ++at_;
    return true;
  }
  /// Like consume, but its absence is an error.
  bool expect(char c);

  /// One whole value; `span` is its text without surrounding space.
  bool value(std::string_view& span);
  /// A string literal with its quotes.
  bool string(std::string_view& span);
  bool at_end() { return peek() == '\0' && at_ == end_; }

  /// For containers the caller walks itself.
  bool enter();
  void leave() { --depth_; }

  const char* position() const { return at_; }
  bool fail(const char* expected);
  /// "at byte 17: expected a value".
  std::string error() const;

 private:
  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool skip_value();
  bool skip_string();
  bool skip_number();
  bool skip_escape();
  bool skip_utf8();
  bool skip_literal(std::string_view word);
  bool skip_array();
  bool skip_object();

  const char* begin_;
  const char* at_;
  const char* end_;
  uint32_t depth_ = 0;
  const char* expected_ = nullptr;
};

/// Whether the text is exactly one JSON value.
bool is_json(std::string_view text);

}  // namespace hearth::router
