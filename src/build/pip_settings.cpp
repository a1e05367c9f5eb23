#include "build/pip_settings.hpp"

#include "base/trimmed.hpp"

#include <algorithm>

namespace hearth::build {
namespace {

/// "find_links" and "FIND-LINKS" are the same option.
std::string option_name(std::string_view text) {
  std::string name;
  for (char c : trimmed(text)) name += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

void PipLayers::add_file(std::string_view text) {
  PipOptions* section = nullptr;
  std::string last;
  while (!text.empty()) {
    const std::string_view raw = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), raw.size() + 1));
    const std::string_view line = trimmed(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (is_blank(raw.front()) && !last.empty()) {  // goes on from the line before
      if (section != nullptr) ((*section)[last] += ' ') += line;
      continue;
    }
    if (line.front() == '[') {
      last.clear();
      const std::string name = option_name(line.substr(1, line.find(']') - 1));
      section = name == "global" ? &global : name == "install" ? &install : nullptr;
      continue;
    }
    const size_t split = line.find_first_of("=:");
    if (split == std::string_view::npos) continue;
    last = option_name(line.substr(0, split));
    if (section != nullptr) (*section)[last] = trimmed(line.substr(split + 1));
  }
}

void PipLayers::add_variable(std::string_view name, std::string_view value) {
  constexpr std::string_view kPrefix = "PIP_";
  if (!name.starts_with(kPrefix) || name == "PIP_CONFIG_FILE" || value.empty()) return;
  variables_[option_name(name.substr(kPrefix.size()))] = value;
}

PipOptions PipLayers::merged() const {
  PipOptions merged = global;
  for (const auto& [name, value] : install) merged[name] = value;
  for (const auto& [name, value] : variables_) merged[name] = value;
  return merged;
}

std::string to_pip_conf(const PipOptions& options) {
  std::string text = "[global]\n";
  for (const auto& [name, value] : options) {
    std::string line = value;
    std::ranges::replace(line, '\n', ' ');
    text += name + " = " + line + "\n";
  }
  return text;
}

}  // namespace hearth::build
