// Writes JSON text by hand: records are made on the event loop, where a document tree would be too slow. Private.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::record {

/// `"…"` with everything escaped that JSON wants escaped; bytes that are not UTF-8 become U+FFFD. Never a raw newline.
void append_json_string(std::string& out, std::string_view text);
void append_number(std::string& out, uint64_t number);

/// Reads lines of a fixed field order back, without a document tree. After the first surprise ok() is false.
class LineCursor {
 public:
  explicit LineCursor(std::string_view line) : rest_(line) {}

  /// The given text must come next.
  void expect(std::string_view text);
  /// A string without escapes comes next, its opening quote already taken; its closing quote is taken.
  std::string_view plain_string();
  uint64_t number();

  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace hearth::record
