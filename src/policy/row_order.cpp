#include "policy/row_order.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

namespace hearth::policy {
namespace {

/// 0.DIGITS × 10^exponent, no leading or trailing zero digits; empty digits are the value zero.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
};

constexpr int64_t kLargestExponent = int64_t{1} << 40;  // beyond every text a body could hold

int64_t parse_exponent(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || value > kLargestExponent) value = kLargestExponent;
  return negative ? -value : value;
}

Decimal parse_decimal(std::string_view text) {
  Decimal decimal;
  decimal.negative = text.starts_with('-');
  if (decimal.negative) text.remove_prefix(1);
  if (const auto at = text.find_first_of("eE"); at != std::string_view::npos) {
    decimal.exponent = parse_exponent(text.substr(at + 1));
    text = text.substr(0, at);
  }
  const auto point = std::min(text.find('.'), text.size());
  decimal.digits = text.substr(0, point);
  decimal.exponent += static_cast<int64_t>(point);
  if (point < text.size()) decimal.digits += text.substr(point + 1);
  const auto first = std::min(decimal.digits.find_first_not_of('0'), decimal.digits.size());
  decimal.digits.erase(0, first);
  decimal.exponent -= static_cast<int64_t>(first);
  decimal.digits.erase(decimal.digits.find_last_not_of('0') + 1);
  if (decimal.digits.empty()) return {};  // every zero is the same zero
  return decimal;
}

std::strong_ordering compare_decimals(const Decimal& a, const Decimal& b) {
  const auto sign = [](const Decimal& d) { return d.digits.empty() ? 0 : (d.negative ? -1 : 1); };
  if (sign(a) != sign(b)) return sign(a) <=> sign(b);
  if (sign(a) == 0) return std::strong_ordering::equal;
  const auto magnitude = a.exponent != b.exponent ? a.exponent <=> b.exponent : a.digits.compare(b.digits) <=> 0;
  return a.negative ? 0 <=> magnitude : magnitude;
}

/// Most ids are plain integers: no allocation for those.
std::optional<int64_t> small_integer(std::string_view text) {
  constexpr size_t kMostDigits = 18;
  if (text.size() > kMostDigits) return std::nullopt;
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A row id made ready for comparing, so that sorting hostile ids parses each of them once.
struct SortKey {
  bool is_string = false;
  std::optional<int64_t> small;
  Decimal decimal;  // of a number that is not small; made on demand for one that is
  std::string_view plain;
  std::string unescaped;  // of a string with escapes, else empty and `plain` counts

  std::string_view text() const { return unescaped.empty() ? plain : std::string_view(unescaped); }
};

SortKey sort_key(std::string_view id) {
  SortKey key{.is_string = id.starts_with('"')};
  if (key.is_string) {
    key.plain = id.substr(1, id.size() - 2);
    if (key.plain.contains('\\')) key.unescaped = unescape_json(id);
    return key;
  }
  key.small = small_integer(id);
  if (!key.small) key.decimal = parse_decimal(id);
  return key;
}

std::strong_ordering compare_keys(const SortKey& a, const SortKey& b) {
  if (a.is_string != b.is_string) return a.is_string <=> b.is_string;
  if (a.is_string) return a.text().compare(b.text()) <=> 0;
  if (a.small && b.small) return *a.small <=> *b.small;
  if (a.small) return compare_decimals(parse_decimal(std::to_string(*a.small)), b.decimal);
  if (b.small) return compare_decimals(a.decimal, parse_decimal(std::to_string(*b.small)));
  return compare_decimals(a.decimal, b.decimal);
}

uint32_t hex4(std::string_view digits) {
  uint32_t value = 0;
  digits = digits.substr(0, 4);
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | (code >> 6));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

/// The character at text[at] == 'u' of an escape; moves `at` to its last digit. A lone surrogate stays one.
uint32_t unicode_escape(std::string_view text, size_t& at) {
  uint32_t code = hex4(text.substr(at + 1));
  at += 4;
  const bool high = code >= 0xD800 && code < 0xDC00;
  if (!high || at + 6 >= text.size() || text[at + 1] != '\\' || text[at + 2] != 'u') return code;
  const uint32_t low = hex4(text.substr(at + 3));
  if (low < 0xDC00 || low > 0xDFFF) return code;
  at += 6;
  return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
}

}  // namespace

std::string unescape_json(std::string_view literal) {
  const std::string_view text = literal.substr(1, literal.size() - 2);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      out += text[at];
      continue;
    }
    ++at;
    switch (text[at]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u':
        append_utf8(out, unicode_escape(text, at));
        break;
      default:
        out += text[at];
    }
  }
  return out;
}

std::strong_ordering compare_row_ids(std::string_view a, std::string_view b) {
  return compare_keys(sort_key(a), sort_key(b));
}

Result<std::vector<uint32_t>> order_rows(const std::vector<std::string_view>& ids) {
  std::vector<SortKey> keys;
  keys.reserve(ids.size());
  for (const std::string_view id : ids) keys.push_back(sort_key(id));
  std::vector<uint32_t> order(ids.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto less = [&keys](uint32_t a, uint32_t b) { return compare_keys(keys[a], keys[b]) < 0; };
  // Clients mostly send ids in order already.
  if (!std::is_sorted(order.begin(), order.end(), less)) std::sort(order.begin(), order.end(), less);
  for (size_t i = 1; i < order.size(); ++i) {
    if (compare_keys(keys[order[i - 1]], keys[order[i]]) == 0) {
      const std::string id(ids[order[i]].substr(0, 100));
      return fail(ErrorCode::invalid_argument, "row id " + id + " is given twice");
    }
  }
  return order;
}

}  // namespace hearth::policy
