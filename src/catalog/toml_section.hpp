// Reads one section of hearth.toml: typed values, and errors that name line and key. Private to the catalog; toml++
// stays behind it (src/catalog/toml_section.cpp).
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::catalog {

struct TomlNode;  // a toml::node, known to the .cpp alone

/// A section, or none: then every read gives its default. Lives no longer than its document.
class TomlSection {
 public:
  TomlSection(std::string name, const TomlNode* table, uint32_t line)
      : name_(std::move(name)), table_(table), line_(line) {}

  /// invalid_argument naming the nearest known key when one is not in `known`.
  Result<> check_keys(const std::vector<std::string_view>& known) const;

  /// Each leaves `value` as it is when the key is absent.
  Result<> read(std::string_view key, std::string& value) const;
  Result<> read(std::string_view key, bool& value) const;
  Result<> read(std::string_view key, std::vector<std::string>& value) const;
  Result<> read(std::string_view key, std::map<std::string, std::string>& value) const;
  Result<> read_table(std::map<std::string, std::string>& value) const;
  Result<> read_bytes(std::string_view key, uint64_t& value) const;
  Result<> read_duration(std::string_view key, std::chrono::milliseconds& value) const;
  Result<> read_number(std::string_view key, double& value) const;
  Result<> read_count(std::string_view key, uint32_t& value) const;

  /// "hearth.toml line 7: model.handler"; the section's line when the key is absent.
  std::string place(std::string_view key) const;

 private:
  const TomlNode* find(std::string_view key) const;
  Unexpected wrong(std::string_view key, std::string_view expected) const;

  std::string name_;
  const TomlNode* table_;
  uint32_t line_;
};

class TomlDocument {
 public:
  /// Syntax errors name line and column.
  static Result<TomlDocument> parse(std::string_view toml);
  TomlDocument(TomlDocument&&) noexcept;
  TomlDocument& operator=(TomlDocument&&) noexcept;
  ~TomlDocument();

  Result<> check_sections(const std::vector<std::string_view>& known) const;
  Result<TomlSection> section(std::string_view name) const;

 private:
  struct State;
  explicit TomlDocument(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::catalog
