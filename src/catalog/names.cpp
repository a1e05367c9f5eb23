#include "catalog/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace hearth::catalog {
namespace {

constexpr size_t kNameLimit = 63;
constexpr size_t kBranchLimit = 200;
constexpr std::array<std::string_view, 4> kReservedModels = {"models", "chat", "completions", "embeddings"};

enum class Case { lower_only, any };

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c, Case letters) {
  return (c >= 'a' && c <= 'z') || (letters == Case::any && c >= 'A' && c <= 'Z');
}

bool is_segment(std::string_view text, Case letters) {
  if (text.empty() || text.size() > kNameLimit) return false;
  if (!is_letter(text[0], letters) && !is_digit(text[0])) return false;
  return std::ranges::all_of(
      text, [letters](char c) { return is_letter(c, letters) || is_digit(c) || c == '.' || c == '_' || c == '-'; });
}

/// Never echoes control characters or endless input back.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text.substr(0, 80)) out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  return out + (text.size() > 80 ? "…\"" : "\"");
}

Result<> check_lower_name(std::string_view kind, std::string_view name) {
  if (is_segment(name, Case::lower_only)) return {};
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{} is not a {} name: use lower-case letters, digits, '.', '_' and '-', starting with a letter "
                  "or digit, at most {} characters",
                  quoted(name), kind, kNameLimit));
}

}  // namespace

Result<> check_model_name(std::string_view name) {
  TRY_VOID(check_lower_name("model", name));
  if (std::ranges::find(kReservedModels, name) != kReservedModels.end()) {
    return fail(ErrorCode::invalid_argument, fmt::format("\"{}\" is reserved (as are {}): choose another model name",
                                                         name, fmt::join(kReservedModels, ", ")));
  }
  return {};
}

Result<> check_workspace_name(std::string_view name) {
  return check_lower_name("workspace", name);
}
Result<> check_image_name(std::string_view name) {
  return check_lower_name("image", name);
}

Result<> check_branch_name(std::string_view name) {
  bool good = !name.empty() && name.size() <= kBranchLimit;
  for (std::string_view rest = name; good;) {
    const size_t slash = rest.find('/');
    good = is_segment(rest.substr(0, slash), Case::any);
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (good) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} is not a branch name: use letters, digits, '.', '_' and '-', starting with a letter or "
                          "digit, in parts joined by '/', at most {} characters",
                          quoted(name), kBranchLimit));
}

Result<> check_alias_name(std::string_view name) {
  if (!is_segment(name, Case::any)) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{} is not an alias: use letters, digits, '.', '_' and '-', starting with a letter or digit, "
                    "at most {} characters",
                    quoted(name), kNameLimit));
  }
  if (name == kLatest) {
    return fail(ErrorCode::invalid_argument, "\"latest\" always means the newest version: choose another alias");
  }
  if (std::ranges::all_of(name, is_digit)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("\"{}\" would be taken for a version number: an alias needs a letter", name));
  }
  return {};
}

std::string branch_to_segment(std::string_view branch) {
  std::string segment(branch);
  std::ranges::replace(segment, '/', '~');
  return segment;
}

std::string branch_from_segment(std::string_view segment) {
  std::string branch(segment);
  std::ranges::replace(branch, '~', '/');
  return branch;
}

std::optional<uint32_t> parse_version_number(std::string_view text) {
  if (text.empty() || text.size() > 10 || text[0] == '0' || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  uint64_t number = 0;
  for (char c : text) number = number * 10 + static_cast<uint64_t>(c - '0');
  if (number > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(number);
}

size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 256);  // names are short; hostile ones must not cost quadratic time
  b = b.substr(0, 256);
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace hearth::catalog
