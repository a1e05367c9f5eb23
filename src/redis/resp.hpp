// RESP, the Redis protocol (versions 2 and 3), without sockets: bytes in, values out.
#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::redis {

/// One reply. Maps are flat: key, value, key, value …; attributes are skipped.
struct RespValue {
  enum class Kind { null, text, error, integer, number, boolean, array, map, set, push };
  Kind kind = Kind::null;
  std::string text;     // text (simple, bulk, verbatim, big number), error; also the number as it came
  int64_t integer = 0;  // integer; boolean as 0 or 1
  std::vector<RespValue> items;

  bool is_null() const { return kind == Kind::null; }
  bool is_text() const { return kind == Kind::text; }
};

/// A command as an array of bulk strings.
std::string encode_command(const std::vector<std::string_view>& arguments);

struct RespLimits {
  size_t bulk_bytes = size_t{64} << 20;  // one string
  size_t line_bytes = 64 * 1024;         // one line that is not a bulk string
  size_t items = size_t{1} << 20;        // values in one reply, all levels together
  size_t depth = 16;
};

/// Incremental: feed() bytes as they come, next() until it has no more. Nothing is parsed twice. After an error
/// (`corrupt`, or `exhausted` beyond a limit) the stream is lost: close it.
class RespDecoder {
 public:
  explicit RespDecoder(RespLimits limits = {}) : limits_(limits) {}
  void feed(std::string_view bytes);
  /// The next complete reply, or nothing yet.
  Result<std::optional<RespValue>> next();

 private:
  struct Open {  // an aggregate whose items are still coming
    RespValue value;
    size_t missing = 0;
    bool is_attribute = false;  // RESP3 remarks beside a reply: read and thrown away
  };
  enum class Step { value, opened, need_more };

  Result<Step> read_one(RespValue& value);
  Result<Step> read_bulk(std::string_view line, size_t body, RespValue& value);
  Result<Step> open(RespValue::Kind kind, std::string_view line, size_t per_item);
  Result<std::optional<RespValue>> close_full(RespValue value);

  RespLimits limits_;
  std::string buffer_;
  size_t position_ = 0;  // parsed up to here
  size_t scanned_ = 0;   // no line end before here
  size_t items_ = 0;
  std::vector<Open> open_;
};

}  // namespace hearth::redis
