// The names users give to things, and how they appear in object-store keys and URLs. Pure.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::catalog {

inline constexpr std::string_view kDefaultBranch = "main";
inline constexpr std::string_view kDefaultWorkspace = "default";
inline constexpr std::string_view kLatest = "latest";

/// All checks answer invalid_argument and say what is allowed.
/// Models: [a-z0-9][a-z0-9._-]*, at most 63 characters, none of models, chat, completions, embeddings.
Result<> check_model_name(std::string_view name);
/// Workspaces and images: like models, without the reserved names.
Result<> check_workspace_name(std::string_view name);
Result<> check_image_name(std::string_view name);
/// Branches: [A-Za-z0-9][A-Za-z0-9._-]*, segments joined by '/'.
Result<> check_branch_name(std::string_view name);
/// Aliases: like one segment of a branch, not all digits and not "latest".
Result<> check_alias_name(std::string_view name);

/// "team/try" ⇄ "team~try": one path segment in keys and URLs.
std::string branch_to_segment(std::string_view branch);
std::string branch_from_segment(std::string_view segment);

/// "17" → 17; nullopt for anything that is not a version number (1 … 2³²−1, no leading zero).
std::optional<uint32_t> parse_version_number(std::string_view text);

/// The nearest of `known` to `text` by edit distance when it is close enough to be meant, else empty.
template <class Names>
std::string_view nearest_name(std::string_view text, const Names& known);

/// Number of single-character edits (insert, delete, replace, swap of neighbours) between the two.
size_t edit_distance(std::string_view a, std::string_view b);

template <class Names>
std::string_view nearest_name(std::string_view text, const Names& known) {
  std::string_view best;
  size_t best_distance = text.size() / 2 + 2;  // further away than this nobody meant it
  for (std::string_view name : known) {
    const size_t distance = edit_distance(text, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace hearth::catalog
