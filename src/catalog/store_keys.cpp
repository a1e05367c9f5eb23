#include "catalog/store_keys.hpp"

#include "catalog/names.hpp"

#include <fmt/format.h>

#include <array>

namespace hearth::catalog {

std::string models_prefix(std::string_view workspace) {
  return fmt::format("ws/{}/models/", workspace);
}

std::string model_prefix(std::string_view workspace, std::string_view model) {
  return fmt::format("ws/{}/models/{}/", workspace, model);
}

std::string branch_prefix(const BranchRef& branch) {
  return fmt::format("ws/{}/models/{}/{}/", branch.workspace, branch.model, branch_to_segment(branch.branch));
}

std::string version_key(const BranchRef& branch, uint32_t version) {
  return fmt::format("{}versions/{}.json", branch_prefix(branch), version);
}

std::string tombstone_key(const BranchRef& branch, uint32_t version) {
  return fmt::format("{}versions/{}.removed", branch_prefix(branch), version);
}

std::string aliases_key(const BranchRef& branch, uint64_t generation) {
  return fmt::format("{}aliases/{}.json", branch_prefix(branch), generation);
}

std::string api_key_key(const Digest& digest) {
  return fmt::format("{}{}.json", kKeysPrefix, digest.hex());
}
std::string revoked_key(const Digest& digest) {
  return fmt::format("{}{}.revoked", kKeysPrefix, digest.hex());
}

std::string upload_key(std::string_view workspace, std::string_view hex) {
  return fmt::format("ws/{}/uploads/{}", workspace, hex);
}

std::optional<uint64_t> parse_generation(std::string_view file_name) {
  constexpr std::string_view kEnding = ".json";
  if (!file_name.ends_with(kEnding)) return std::nullopt;
  const auto number = parse_version_number(file_name.substr(0, file_name.size() - kEnding.size()));
  if (!number) return std::nullopt;
  return *number;
}

std::optional<ModelObject> parse_model_key(std::string_view key) {
  std::array<std::string_view, 7> parts;  // ws <w> models <m> <b> versions|aliases <file>
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t slash = key.find('/');
    if ((slash == std::string_view::npos) != (i + 1 == parts.size())) return std::nullopt;
    parts.at(i) = key.substr(0, slash);
    key.remove_prefix(slash == std::string_view::npos ? key.size() : slash + 1);
  }
  if (parts[0] != "ws" || parts[2] != "models") return std::nullopt;
  ModelObject object;
  object.branch = {std::string(parts[1]), std::string(parts[3]), branch_from_segment(parts[4])};
  std::string_view file = parts[6];
  constexpr std::string_view kRemoved = ".removed";
  if (parts[5] == "versions" && file.ends_with(kRemoved)) {
    object.kind = ModelObject::Kind::tombstone;
    const auto number = parse_version_number(file.substr(0, file.size() - kRemoved.size()));
    if (!number) return std::nullopt;
    object.number = *number;
    return object;
  }
  if (parts[5] != "versions" && parts[5] != "aliases") return std::nullopt;
  object.kind = parts[5] == "aliases" ? ModelObject::Kind::aliases : ModelObject::Kind::version;
  const auto number = parse_generation(file);
  if (!number) return std::nullopt;
  object.number = *number;
  return object;
}

}  // namespace hearth::catalog
