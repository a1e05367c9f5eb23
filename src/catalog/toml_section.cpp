#include "catalog/toml_section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include "base/quantity.hpp"
#include "catalog/names.hpp"

#include <toml++/toml.h>

namespace hearth::catalog {
namespace {

constexpr size_t kDocumentLimit = 1 << 20;
constexpr size_t kListLimit = 10'000;

const toml::node& node_of(const TomlNode* node) {
  return *reinterpret_cast<const toml::node*>(node);
}
const TomlNode* as_node(const toml::node* node) {
  return reinterpret_cast<const TomlNode*>(node);
}

uint32_t line_of(const toml::node& node) {
  return node.source().begin.line;
}

std::string at_line(uint32_t line) {
  return line == 0 ? std::string("hearth.toml") : fmt::format("hearth.toml line {}", line);
}

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

/// Keys may hold anything TOML allows; what is echoed stays one short line.
std::string shown(std::string_view key) {
  std::string out;
  for (char c : key.substr(0, 60)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out;
}

std::string not_known(std::string_view what, std::string_view key, const std::vector<std::string_view>& known) {
  const std::string_view nearest = nearest_name(key, known);
  if (!nearest.empty()) return fmt::format("{} is not known; did you mean \"{}\"?", what, nearest);
  return fmt::format("{} is not known; known are {}", what, fmt::join(known, ", "));
}

/// A text without NUL, which no path, name or variable can hold.
std::optional<std::string> text_of(const toml::node& node) {
  const auto* text = node.as_string();
  if (text == nullptr || text->get().find('\0') != std::string::npos) return std::nullopt;
  return text->get();
}

}  // namespace

struct TomlDocument::State {
  toml::table root;
};

TomlDocument::TomlDocument(std::unique_ptr<State> state) : state_(std::move(state)) {}
TomlDocument::TomlDocument(TomlDocument&&) noexcept = default;
TomlDocument& TomlDocument::operator=(TomlDocument&&) noexcept = default;
TomlDocument::~TomlDocument() = default;

Result<TomlDocument> TomlDocument::parse(std::string_view toml) {
  if (toml.size() > kDocumentLimit) {
    return fail(ErrorCode::invalid_argument, "hearth.toml is larger than 1 MiB: keep data in artifacts, not in it");
  }
  toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    const auto& error = parsed.error();
    return fail(ErrorCode::invalid_argument,
                fmt::format("hearth.toml line {} column {} is not valid TOML: {}", error.source().begin.line,
                            error.source().begin.column, error.description()));
  }
  auto state = std::make_unique<State>();
  state->root = std::move(parsed).table();
  return TomlDocument(std::move(state));
}

Result<> TomlDocument::check_sections(const std::vector<std::string_view>& known) const {
  for (const auto& [key, node] : state_->root) {
    if (std::ranges::find(known, key.str()) != known.end()) continue;
    const bool table = node.is_table();
    const std::string what = table ? fmt::format("section [{}]", shown(key.str()))
                                   : fmt::format("key {} outside of any section", shown(key.str()));
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {}", at_line(line_of(node)), not_known(what, key.str(), known)));
  }
  return {};
}

Result<TomlSection> TomlDocument::section(std::string_view name) const {
  const toml::node* node = state_->root.get(name);
  if (node == nullptr) return TomlSection(std::string(name), nullptr, 0);
  if (!node->is_table()) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {} must be a section, written [{}] on a line of its own",
                                                         at_line(line_of(*node)), name, name));
  }
  return TomlSection(std::string(name), as_node(node), line_of(*node));
}

const TomlNode* TomlSection::find(std::string_view key) const {
  if (table_ == nullptr) return nullptr;
  return as_node(node_of(table_).as_table()->get(key));
}

std::string TomlSection::place(std::string_view key) const {
  const TomlNode* node = find(key);
  return fmt::format("{}: {}.{}", at_line(node != nullptr ? line_of(node_of(node)) : line_), name_, shown(key));
}

Unexpected TomlSection::wrong(std::string_view key, std::string_view expected) const {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} must be {}, not {}", place(key), expected, kind_of(node_of(find(key)))));
}

Result<> TomlSection::check_keys(const std::vector<std::string_view>& known) const {
  if (table_ == nullptr) return {};
  for (const auto& [key, node] : *node_of(table_).as_table()) {
    if (std::ranges::find(known, key.str()) != known.end()) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {}", at_line(line_of(node)),
                            not_known(fmt::format("key {}.{}", name_, shown(key.str())), key.str(), known)));
  }
  return {};
}

Result<> TomlSection::read(std::string_view key, std::string& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  auto text = text_of(node_of(node));
  if (!text) return wrong(key, "a text in quotes");
  value = std::move(*text);
  return {};
}

Result<> TomlSection::read(std::string_view key, bool& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  const auto* boolean = node_of(node).as_boolean();
  if (boolean == nullptr) return wrong(key, "true or false without quotes");
  value = boolean->get();
  return {};
}

Result<> TomlSection::read(std::string_view key, std::vector<std::string>& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  const toml::array* list = node_of(node).as_array();
  if (list == nullptr) return wrong(key, "a list of texts, as in [\"one\", \"two\"]");
  if (list->size() > kListLimit) return wrong(key, "a list of at most 10000 texts");
  value.clear();
  for (const toml::node& item : *list) {
    auto text = text_of(item);
    if (!text) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: each item of {}.{} must be a text in quotes, not {}",
                                                           at_line(line_of(item)), name_, key, kind_of(item)));
    }
    value.push_back(std::move(*text));
  }
  return {};
}

Result<> TomlSection::read(std::string_view key, std::map<std::string, std::string>& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  if (!node_of(node).is_table()) return wrong(key, "a table of texts, as in { NAME = \"value\" }");
  return TomlSection(fmt::format("{}.{}", name_, key), node, line_of(node_of(node))).read_table(value);
}

Result<> TomlSection::read_table(std::map<std::string, std::string>& value) const {
  if (table_ == nullptr) return {};
  const toml::table& table = *node_of(table_).as_table();
  if (table.size() > kListLimit) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {} has too many keys", at_line(line_), name_));
  }
  value.clear();
  for (const auto& [key, node] : table) {
    auto text = text_of(node);
    if (!text) return wrong(key.str(), "a text in quotes");
    value.emplace(std::string(key.str()), std::move(*text));
  }
  return {};
}

Result<> TomlSection::read_bytes(std::string_view key, uint64_t& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  std::string text;
  if (const auto* whole = node_of(node).as_integer()) {
    text = std::to_string(whole->get());
  } else if (auto quoted = text_of(node_of(node))) {
    text = std::move(*quoted);
  } else {
    return wrong(key, "a size in quotes, as in \"512MiB\"");
  }
  auto bytes = parse_bytes(text);
  if (!bytes) return fail_with_context(place(key), std::move(bytes).error());
  value = *bytes;
  return {};
}

Result<> TomlSection::read_duration(std::string_view key, std::chrono::milliseconds& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  auto text = text_of(node_of(node));
  if (!text) return wrong(key, "a duration in quotes, as in \"30s\" or \"10m\"");
  auto duration = parse_duration(*text);
  if (!duration) return fail_with_context(place(key), std::move(duration).error());
  value = *duration;
  return {};
}

Result<> TomlSection::read_number(std::string_view key, double& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  if (const auto* whole = node_of(node).as_integer()) {
    value = static_cast<double>(whole->get());
    return {};
  }
  const auto* number = node_of(node).as_floating_point();
  if (number == nullptr || !std::isfinite(number->get())) return wrong(key, "a number, as in 0.5");
  value = number->get();
  return {};
}

Result<> TomlSection::read_count(std::string_view key, uint32_t& value) const {
  const TomlNode* node = find(key);
  if (node == nullptr) return {};
  const auto* whole = node_of(node).as_integer();
  if (whole == nullptr) return wrong(key, "a whole number without quotes");
  if (whole->get() < 0 || whole->get() > UINT32_MAX) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} is {}, which is out of range", place(key), whole->get()));
  }
  value = static_cast<uint32_t>(whole->get());
  return {};
}

}  // namespace hearth::catalog
