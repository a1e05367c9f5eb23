#include "router/inference_body.hpp"

#include "policy/row_order.hpp"
#include "router/json_cursor.hpp"

#include <charconv>
#include <string>

namespace hearth::router {
namespace {

/// What was seen of "data" before it is known how it is meant: an override may follow it in the body.
struct DataSeen {
  std::string_view whole;
  std::string_view inside;  // of a list: between its brackets
  bool present = false;
  bool is_list = false;
  bool begins_with_list = false;
  size_t elements = 0;
  std::vector<RowSpan> rows;  // while every element so far is a good row
  std::string row_error;      // why an element is no row
  bool too_many_rows = false;
};

struct Overrides {
  std::optional<bool> single;
  std::optional<bool> batch;
};

std::string_view span_between(const char* from, const char* to) {
  return {from, static_cast<size_t>(to - from)};
}

std::string_view trim_end(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \n\t\r") + 1);
}

class Parser {
 public:
  explicit Parser(std::string_view body) : cursor_(body) {}
  Result<InferenceBody> parse();

 private:
  Result<> member(std::string_view key);
  bool data();
  bool list_elements();
  bool row();
  Result<bool> boolean(std::string_view key);
  Result<> timeout();
  Result<> include();
  Result<> interpret();
  Unexpected broken() const {
    return fail(ErrorCode::invalid_argument, "the body is not valid JSON, " + cursor_.error());
  }
  static Unexpected wrong(std::string message) { return fail(ErrorCode::invalid_argument, std::move(message)); }

  JsonCursor cursor_;
  DataSeen data_;
  Overrides overrides_;
  InferenceBody out_;
};

Result<InferenceBody> Parser::parse() {
  if (cursor_.at_end()) return wrong("the body is empty; expected a JSON object such as {\"data\": 5}");
  if (cursor_.peek() != '{') {
    std::string_view value;
    if (!cursor_.value(value) || !cursor_.at_end()) return broken();
    return wrong("the body must be a JSON object such as {\"data\": 5}");
  }
  cursor_.consume('{');
  if (!cursor_.enter()) return broken();
  if (!cursor_.consume('}')) {
    do {
      std::string_view key;
      if (cursor_.peek() != '"') {
        cursor_.fail("expected a key in quotes");
        return broken();
      }
      if (!cursor_.string(key) || !cursor_.expect(':')) return broken();
      TRY_VOID(member(key));
    } while (cursor_.consume(','));
    if (!cursor_.expect('}')) return broken();
  }
  if (!cursor_.at_end()) {
    cursor_.fail("expected the end of the body");
    return broken();
  }
  TRY_VOID(interpret());
  return std::move(out_);
}

Result<> Parser::member(std::string_view key) {
  std::string unescaped;
  std::string_view name = key.substr(1, key.size() - 2);
  if (name.contains('\\')) {
    unescaped = policy::unescape_json(key);
    name = unescaped;
  }
  if (name == "data") {
    if (data_.present) return wrong("\"data\" is given twice");
    if (!data()) return broken();
    return {};
  }
  if (name == "timeout_seconds") return timeout();
  if (name == "include") return include();
  if (name == "single" || name == "batch") {
    TRY(const bool value, boolean(name));
    (name == "single" ? overrides_.single : overrides_.batch) = value;
    return {};
  }
  std::string_view ignored;
  if (!cursor_.value(ignored)) return broken();
  if (name == "response_webhook" || (name == "response_format" && ignored != "null")) {
    return wrong("\"" + std::string(name) + "\" is not supported; leave it out to get the result in the answer");
  }
  return {};
}

bool Parser::data() {
  data_.present = true;
  data_.is_list = cursor_.peek() == '[';
  if (!data_.is_list) return cursor_.value(data_.whole);
  const char* start = cursor_.position();
  cursor_.consume('[');
  if (!cursor_.enter()) return false;
  if (cursor_.peek() != ']' && !list_elements()) return false;
  if (!cursor_.expect(']')) return false;
  cursor_.leave();
  data_.whole = span_between(start, cursor_.position());
  return true;
}

bool Parser::list_elements() {
  data_.begins_with_list = cursor_.peek() == '[';
  const char* first = cursor_.position();
  const char* end = first;
  do {
    const bool wanted = data_.begins_with_list && data_.row_error.empty() && !data_.too_many_rows;
    if (wanted && cursor_.peek() == '[') {
      if (!row()) return false;
    } else {
      if (wanted) data_.row_error = "element " + std::to_string(data_.elements) + " is no list";
      std::string_view ignored;
      if (!cursor_.value(ignored)) return false;
    }
    ++data_.elements;
    end = cursor_.position();
  } while (cursor_.consume(','));
  data_.inside = span_between(first, end);
  return true;
}

/// `[id, arguments…]`, or a note why it is none; either way its syntax is checked.
bool Parser::row() {
  cursor_.consume('[');
  if (!cursor_.enter()) return false;
  const char next = cursor_.peek();
  if (next == ']') {
    data_.row_error = "row " + std::to_string(data_.elements) + " is empty, it needs an id";
    cursor_.consume(']');
    cursor_.leave();
    return true;
  }
  RowSpan row;
  const bool good_id = next == '"' || next == '-' || (next >= '0' && next <= '9');
  if (!good_id) data_.row_error = "the id of row " + std::to_string(data_.elements) + " must be a number or a string";
  if (!cursor_.value(row.id)) return false;
  if (cursor_.consume(',')) {
    cursor_.peek();  // steps over white space
    const char* start = cursor_.position();
    const char* end = start;
    std::string_view ignored;
    do {
      if (!cursor_.value(ignored)) return false;
      end = cursor_.position();
    } while (cursor_.consume(','));
    row.arguments = span_between(start, end);
  }
  if (!cursor_.expect(']')) return false;
  cursor_.leave();
  if (data_.rows.size() == InferenceBody::kMaxRows) {
    data_.too_many_rows = true;
  } else if (good_id) {
    data_.rows.push_back(row);
  }
  return true;
}

Result<bool> Parser::boolean(std::string_view key) {
  std::string_view value;
  if (!cursor_.value(value)) return broken();
  if (value != "true" && value != "false") return wrong("\"" + std::string(key) + "\" must be true or false");
  return value == "true";
}

Result<> Parser::timeout() {
  std::string_view text;
  if (!cursor_.value(text)) return broken();
  if (text == "null") return {};
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || !(value > 0)) {
    return wrong("\"timeout_seconds\" must be a number above 0");
  }
  out_.timeout_seconds = value;
  return {};
}

Result<> Parser::include() {
  if (!cursor_.consume('[')) return wrong("\"include\" must be a list of \"stdout\", \"stderr\", \"timings\"");
  if (cursor_.consume(']')) return {};
  do {
    std::string_view item;
    if (!cursor_.string(item)) return broken();
    TRY_VOID(add_includes(item.substr(1, item.size() - 2), out_.include));
  } while (cursor_.consume(','));
  if (!cursor_.expect(']')) return broken();
  return {};
}

Result<> Parser::interpret() {
  if (!data_.present) return wrong("the body has no \"data\"");
  if (overrides_.single.value_or(false)) {
    if (overrides_.batch.value_or(false)) return wrong("\"single\" and \"batch\" cannot both be true");
    out_.rows.push_back({.arguments = data_.whole});
    return {};
  }
  const bool batch = overrides_.batch.value_or(data_.begins_with_list);
  if (!batch) {
    out_.rows.push_back({.arguments = data_.is_list ? trim_end(data_.inside) : data_.whole});
    return {};
  }
  if (!data_.is_list) return wrong("a batch needs \"data\" to be a list of rows [id, argument, …]");
  out_.shape = BodyShape::batch;
  if (data_.elements > 0 && !data_.begins_with_list)
    return wrong("a batch needs every element of \"data\" to be a list");
  if (!data_.row_error.empty()) {
    return wrong("\"data\" begins with a list and so is a batch, but " + data_.row_error +
                 " (say \"single\": true to pass data as one argument)");
  }
  if (data_.too_many_rows) {
    return fail(ErrorCode::exhausted,
                "a batch may have at most " + std::to_string(InferenceBody::kMaxRows) + " rows; send several");
  }
  out_.rows = std::move(data_.rows);
  return {};
}

}  // namespace

Result<InferenceBody> parse_inference_body(std::string_view body) {
  return Parser(body).parse();
}

Result<> add_includes(std::string_view comma_separated, Include& include) {
  while (!comma_separated.empty()) {
    const size_t comma = std::min(comma_separated.find(','), comma_separated.size());
    std::string_view item = comma_separated.substr(0, comma);
    comma_separated.remove_prefix(std::min(comma + 1, comma_separated.size()));
    item.remove_prefix(std::min(item.find_first_not_of(" \t"), item.size()));
    item = trim_end(item);
    if (item.empty()) continue;
    if (item == "stdout") {
      include.stdout_text = true;
    } else if (item == "stderr") {
      include.stderr_text = true;
    } else if (item == "timings") {
      include.timings = true;
    } else {
      return fail(ErrorCode::invalid_argument,
                  "include: \"" + std::string(item) + "\" is none of stdout, stderr, timings");
    }
  }
  return {};
}

}  // namespace hearth::router
