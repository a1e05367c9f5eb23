#include "mount/python_names.hpp"

#include "base/little_endian.hpp"

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <utility>

namespace hearth::mount {

namespace {

constexpr size_t kPycHeaderBytes = 16;
constexpr int kMaxDepth = 200;
constexpr size_t kMaxReferences = 1 << 20;
constexpr uint8_t kFlagReference = 0x80;
constexpr size_t kMaxWordBytes = 200;

/// How code objects are laid out.
enum class CodeLayout { unknown, before_3_11, since_3_11 };

CodeLayout layout_of(uint16_t magic) {
  if (magic >= 3400 && magic < 3440) return CodeLayout::before_3_11;  // 3.8, 3.9, 3.10
  if (magic >= 3450 && magic < 3700) return CodeLayout::since_3_11;   // 3.11 to 3.14
  return CodeLayout::unknown;
}

/// Walks what the marshal module wrote, as far as strings and code need.
class Marshal {
 public:
  Marshal(std::string_view bytes, CodeLayout layout) : bytes_(bytes), layout_(layout) {}

  /// The names of the outermost code object.
  std::optional<std::vector<std::string>> module_names() {
    if (!object(0) || !names_) return std::nullopt;
    return std::move(names_);
  }

 private:
  /// What is kept of an object: strings, and the strings of a tuple.
  struct Value {
    std::string_view text;
    bool is_text = false;
  };

  bool take(size_t size, std::string_view& out) {
    if (bytes_.size() - at_ < size) return false;
    out = bytes_.substr(at_, size);
    at_ += size;
    return true;
  }
  template <class T>
  bool number(T& out) {
    std::string_view bytes;
    if (!take(sizeof(T), bytes)) return false;
    out = load_le<T>(bytes, 0);
    return true;
  }
  bool skip(uint64_t size) {
    std::string_view ignored;
    return size <= bytes_.size() && take(static_cast<size_t>(size), ignored);
  }

  /// One object; false: damaged, or of a kind that is not known.
  bool object(int depth, Value* value = nullptr, std::vector<std::string>* texts = nullptr);
  bool sized(uint8_t kind, int depth, Value& value, std::vector<std::string>* texts);
  bool items(uint64_t count, int depth, std::vector<std::string>* texts);
  bool dictionary(int depth);
  bool code(int depth);

  std::string_view bytes_;
  CodeLayout layout_;
  size_t at_ = 0;
  std::vector<Value> references_;
  std::optional<std::vector<std::string>> names_;
  bool ended_ = false;  // a NULL was read: the end of a dictionary
};

bool Marshal::items(uint64_t count, int depth, std::vector<std::string>* texts) {
  if (count > bytes_.size() - at_) return false;  // each takes a byte at least
  for (uint64_t i = 0; i < count; ++i) {
    Value value;
    if (!object(depth + 1, &value)) return false;
    if (texts != nullptr && value.is_text && texts->size() < kMaxPythonNames) texts->emplace_back(value.text);
  }
  return true;
}

bool Marshal::dictionary(int depth) {
  for (;;) {
    if (!object(depth + 1)) return false;
    if (std::exchange(ended_, false)) return true;
    if (!object(depth + 1)) return false;
    if (std::exchange(ended_, false)) return false;
  }
}

/// Of nested code nothing is wanted but to get past it.
bool Marshal::code(int depth) {
  const bool is_old = layout_ == CodeLayout::before_3_11;
  if (!skip(is_old ? 6 * sizeof(uint32_t) : 5 * sizeof(uint32_t))) return false;  // counts and flags
  if (!object(depth + 1) || !object(depth + 1)) return false;                     // instructions, constants
  std::vector<std::string> names;
  if (!object(depth + 1, nullptr, depth == 0 ? &names : nullptr)) return false;
  if (depth == 0) {
    names_ = std::move(names);
    return true;  // the rest is of no interest
  }
  const int before_line = 5;  // old: variables, free, cells, file, name; new: locals, kinds, file, name, qualified name
  for (int i = 0; i < before_line; ++i) {
    if (!object(depth + 1)) return false;
  }
  if (!skip(sizeof(uint32_t))) return false;  // first line
  const int after_line = is_old ? 1 : 2;      // line table, exception table
  for (int i = 0; i < after_line; ++i) {
    if (!object(depth + 1)) return false;
  }
  return true;
}

/// Kinds that begin with a length.
bool Marshal::sized(uint8_t kind, int depth, Value& value, std::vector<std::string>* texts) {
  uint64_t size = 0;
  if (kind == 'z' || kind == 'Z' || kind == ')') {
    uint8_t small = 0;
    if (!number(small)) return false;
    size = small;
  } else {
    uint32_t large = 0;
    if (!number(large)) return false;
    size = large;
  }
  switch (kind) {
    case 'z':
    case 'Z':
    case 'a':
    case 'A':
    case 'u':
    case 't':
      value.is_text = true;
      return size <= bytes_.size() && take(static_cast<size_t>(size), value.text);
    case 's':
      return skip(size);
    case ')':
    case '(':
    case '[':
    case '<':
    case '>':
      return items(size, depth, texts);
    case 'l': {
      const auto digits = static_cast<int64_t>(static_cast<int32_t>(size));
      return skip(static_cast<uint64_t>(digits < 0 ? -digits : digits) * sizeof(uint16_t));
    }
    default:
      return false;
  }
}

bool Marshal::object(int depth, Value* value, std::vector<std::string>* texts) {
  uint8_t kind = 0;
  if (depth > kMaxDepth || !number(kind)) return false;
  const bool is_referenced = (kind & kFlagReference) != 0;
  kind = static_cast<uint8_t>(kind & ~kFlagReference);
  const size_t number_of_reference = references_.size();
  if (is_referenced) {
    if (references_.size() >= kMaxReferences) return false;
    references_.emplace_back();
  }
  Value own;
  bool good = false;
  switch (kind) {
    case '0':
      ended_ = true;
      good = true;
      break;
    case 'N':
    case 'F':
    case 'T':
    case 'S':
    case '.':
      good = true;
      break;
    case 'i':
      good = skip(4);
      break;
    case 'I':
    case 'g':
      good = skip(8);
      break;
    case 'y':
      good = skip(16);
      break;
    case 'f': {
      uint8_t size = 0;
      good = number(size) && skip(size);
      break;
    }
    case 'x': {
      uint8_t size = 0;
      good = number(size) && skip(size) && number(size) && skip(size);
      break;
    }
    case ':':
      good = items(3, depth, nullptr);
      break;
    case 'r': {
      uint32_t which = 0;
      good = number(which) && which < references_.size();
      if (good) own = references_[which];
      break;
    }
    case '{':
      good = dictionary(depth);
      break;
    case 'c':
      good = code(depth);
      break;
    default:
      good = sized(kind, depth, own, texts);
      break;
  }
  if (!good) return false;
  if (is_referenced) references_[number_of_reference] = own;
  if (value != nullptr) *value = own;
  return true;
}

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/// Cuts the next word (name or mark) off the front of a line; empty at its end or at a comment.
std::string_view next_word(std::string_view& line) {
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t' || line.front() == '(')) line.remove_prefix(1);
  if (line.empty() || line.front() == '#') return {};
  size_t size = 0;
  while (size < line.size() && is_name_byte(line[size])) ++size;
  const std::string_view word = line.substr(0, std::max<size_t>(size, 1));
  line.remove_prefix(word.size());
  return word;
}

std::string_view without_dots(std::string_view name) {
  while (!name.empty() && name.front() == '.') name.remove_prefix(1);
  return name;
}

/// "a.b as x, c" or, behind an import of another module, "b, c as d".
void add_list(std::string_view line, std::vector<std::string>& names) {
  bool is_alias = false;
  for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
    if (word == "as") {
      is_alias = true;
    } else if (word == "," || word == ")") {
      is_alias = false;
    } else if (!is_alias && is_name_byte(word.front()) && names.size() < kMaxPythonNames) {
      names.emplace_back(without_dots(word));
    }
  }
}

}  // namespace

std::optional<std::vector<std::string>> names_in_pyc(std::string_view bytes) {
  if (bytes.size() <= kPycHeaderBytes || bytes.size() > kMaxPythonBytes) return std::nullopt;
  const auto magic = load_le<uint16_t>(bytes, 0);
  const CodeLayout layout = layout_of(magic);
  if (layout == CodeLayout::unknown || bytes.substr(2, 2) != "\r\n") return std::nullopt;
  return Marshal(bytes.substr(kPycHeaderBytes), layout).module_names();
}

std::vector<std::string> names_in_source(std::string_view text) {
  std::vector<std::string> names;
  if (text.size() > kMaxPythonBytes) return names;
  bool goes_on = false;  // a list in parentheses
  while (!text.empty() && names.size() < kMaxPythonNames) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (goes_on) {
      add_list(line, names);
      goes_on = !line.contains(')');
      continue;
    }
    const std::string_view first = next_word(line);
    if (first == "import") {
      add_list(line, names);
    } else if (first == "from") {
      const std::string_view module = without_dots(next_word(line));
      if (next_word(line) != "import") continue;
      if (!module.empty()) names.emplace_back(module);
      add_list(line, names);
      goes_on = line.contains('(') && !line.contains(')');
    }
  }
  return names;
}

std::vector<std::string> names_in_binary(std::string_view bytes) {
  std::vector<std::string> names;
  std::unordered_set<std::string_view> seen;
  for (size_t at = 0; at < bytes.size() && names.size() < kMaxPythonNames;) {
    if (!is_name_byte(bytes[at])) {
      ++at;
      continue;
    }
    const size_t begin = at;
    bool has_dot = false;
    for (; at < bytes.size() && is_name_byte(bytes[at]); ++at) has_dot = has_dot || bytes[at] == '.';
    const std::string_view word = bytes.substr(begin, at - begin);
    if (has_dot && word.size() <= kMaxWordBytes && seen.insert(word).second) names.emplace_back(word);
  }
  return names;
}

}  // namespace hearth::mount
