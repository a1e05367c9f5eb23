#include "redis/resp.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace hearth::redis {

namespace {

constexpr size_t kCompactAt = 64 * 1024;
constexpr size_t kReserveItems = 1024;  // a claimed count is believed up to here

Unexpected malformed(std::string_view what) {
  return fail(ErrorCode::corrupt, "not the Redis protocol: " + std::string(what));
}

std::optional<int64_t> parse_integer(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

void append_header(std::string& out, char type, size_t number) {
  out += type;
  out += std::to_string(number);
  out += "\r\n";
}

}  // namespace

std::string encode_command(const std::vector<std::string_view>& arguments) {
  size_t bytes = 16;
  for (std::string_view argument : arguments) bytes += argument.size() + 16;
  std::string out;
  out.reserve(bytes);
  append_header(out, '*', arguments.size());
  for (std::string_view argument : arguments) {
    append_header(out, '$', argument.size());
    out.append(argument).append("\r\n");
  }
  return out;
}

void RespDecoder::feed(std::string_view bytes) {
  if (position_ == buffer_.size()) {
    buffer_.clear();
    scanned_ = position_ = 0;
  } else if (position_ > kCompactAt && position_ > buffer_.size() / 2) {
    buffer_.erase(0, position_);
    scanned_ -= std::min(scanned_, position_);
    position_ = 0;
  }
  buffer_.append(bytes);
}

Result<std::optional<RespValue>> RespDecoder::next() {
  while (true) {
    RespValue value;
    TRY(Step step, read_one(value));
    if (step == Step::need_more) return std::optional<RespValue>();
    if (step == Step::opened && open_.back().missing > 0) continue;
    if (step == Step::opened) {  // an empty aggregate is complete
      if (std::exchange(open_.back().is_attribute, false)) {
        open_.pop_back();
        continue;
      }
      value = std::move(open_.back().value);
      open_.pop_back();
    }
    TRY(auto complete, close_full(std::move(value)));
    if (complete) return complete;
  }
}

// Puts a complete value into the aggregate it belongs to, and that one into its own when it is full.
Result<std::optional<RespValue>> RespDecoder::close_full(RespValue value) {
  while (!open_.empty()) {
    Open& top = open_.back();
    top.value.items.push_back(std::move(value));
    if (--top.missing > 0) return std::optional<RespValue>();
    bool is_attribute = top.is_attribute;
    value = std::move(top.value);
    open_.pop_back();
    if (is_attribute) return std::optional<RespValue>();  // the reply itself follows
  }
  items_ = 0;
  return std::optional<RespValue>(std::move(value));
}

Result<RespDecoder::Step> RespDecoder::read_one(RespValue& value) {
  size_t end = buffer_.find("\r\n", std::max(scanned_, position_));
  if (end == std::string::npos) {
    if (buffer_.size() - position_ > limits_.line_bytes)
      return fail(ErrorCode::exhausted, "Redis sent an endless line");
    scanned_ = std::max(position_, buffer_.empty() ? 0 : buffer_.size() - 1);  // the \r may be there already
    return Step::need_more;
  }
  if (end == position_) return malformed("empty line");
  if (end - position_ > limits_.line_bytes) return fail(ErrorCode::exhausted, "Redis sent an endless line");
  if (items_ >= limits_.items) return fail(ErrorCode::exhausted, "Redis sent too many values in one reply");
  char type = buffer_[position_];
  std::string_view line = std::string_view(buffer_).substr(position_ + 1, end - position_ - 1);
  size_t body = end + 2;
  using enum RespValue::Kind;
  switch (type) {
    case '$':
    case '=':
    case '!':
      return read_bulk(line, body, value);
    case '+':
    case '(':
      value = {.kind = text, .text = std::string(line)};
      break;
    case '-':
      value = {.kind = error, .text = std::string(line)};
      break;
    case ',':
      value = {.kind = number, .text = std::string(line)};
      break;
    case '_':
      value = {};
      break;
    case '#':
      if (line != "t" && line != "f") return malformed("bad boolean");
      value = {.kind = boolean, .integer = line == "t" ? 1 : 0};
      break;
    case ':': {
      auto parsed = parse_integer(line);
      if (!parsed) return malformed("bad integer");
      value = {.kind = integer, .integer = *parsed};
      break;
    }
    case '*':
    case '~':
    case '>':
    case '%':
    case '|': {
      if (type == '*' && line == "-1") break;  // RESP2's other null
      RespValue::Kind kind = type == '*' ? array : type == '~' ? set : type == '>' ? push : map;
      TRY(Step step, open(kind, line, kind == map ? 2 : 1));
      open_.back().is_attribute = type == '|';
      position_ = body;
      return step;
    }
    default:
      return malformed("unknown type");
  }
  ++items_;
  position_ = body;
  return Step::value;
}

Result<RespDecoder::Step> RespDecoder::read_bulk(std::string_view line, size_t body, RespValue& value) {
  char type = buffer_[position_];
  auto length = parse_integer(line);
  if (length == -1 && type == '$') {  // RESP2's null
    ++items_;
    position_ = body;
    return Step::value;
  }
  if (!length || *length < 0) return malformed("bad length");
  auto size = static_cast<size_t>(*length);
  if (size > limits_.bulk_bytes) return fail(ErrorCode::exhausted, "Redis sent a value that is too large");
  if (buffer_.size() < body + size + 2) {
    scanned_ = position_;  // the line is short; finding its end again costs less than remembering it
    return Step::need_more;
  }
  if (buffer_.compare(body + size, 2, "\r\n") != 0) return malformed("a string does not end where it should");
  value.kind = type == '!' ? RespValue::Kind::error : RespValue::Kind::text;
  // Verbatim strings begin with their kind: "txt:".
  bool verbatim = type == '=' && size >= 4 && buffer_[body + 3] == ':';
  value.text.assign(buffer_, verbatim ? body + 4 : body, verbatim ? size - 4 : size);
  ++items_;
  position_ = body + size + 2;
  return Step::value;
}

Result<RespDecoder::Step> RespDecoder::open(RespValue::Kind kind, std::string_view line, size_t per_item) {
  auto count = parse_integer(line);
  if (!count || *count < 0) return malformed("bad count");
  auto missing = static_cast<size_t>(*count);
  if (missing > limits_.items / per_item) return fail(ErrorCode::exhausted, "Redis sent too many values in one reply");
  if (open_.size() >= limits_.depth) return fail(ErrorCode::exhausted, "Redis sent a reply nested too deep");
  ++items_;
  open_.push_back({.value = {.kind = kind}, .missing = missing * per_item});
  open_.back().value.items.reserve(std::min(missing * per_item, kReserveItems));
  return Step::opened;
}

}  // namespace hearth::redis
