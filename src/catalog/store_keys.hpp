// Keys in the object store of what the catalog holds and what its users upload: written in one place, read back in one
// place. Pure.
#pragma once

#include "catalog/version_record.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::catalog {

std::string models_prefix(std::string_view workspace);                         // ws/<w>/models/
std::string model_prefix(std::string_view workspace, std::string_view model);  // ws/<w>/models/<m>/
std::string branch_prefix(const BranchRef& branch);                            // ws/<w>/models/<m>/<b>/
std::string version_key(const BranchRef& branch, uint32_t version);            // …versions/<n>.json
std::string tombstone_key(const BranchRef& branch, uint32_t version);          // …versions/<n>.removed
std::string aliases_key(const BranchRef& branch, uint64_t generation);         // …aliases/<g>.json
std::string api_key_key(const Digest& digest);                                 // keys/<hex>.json
std::string revoked_key(const Digest& digest);                                 // keys/<hex>.revoked
std::string upload_key(std::string_view workspace, std::string_view hex);      // ws/<w>/uploads/<hex>: a part of a file

inline constexpr std::string_view kKeysPrefix = "keys/";

/// What an object below ws/<w>/models/ is; nullopt for what the catalog did not write.
struct ModelObject {
  enum class Kind { version, tombstone, aliases };
  Kind kind = Kind::version;
  BranchRef branch;
  uint64_t number = 0;  // version, or generation of aliases
};
std::optional<ModelObject> parse_model_key(std::string_view key);

/// "<g>.json" → g.
std::optional<uint64_t> parse_generation(std::string_view file_name);

}  // namespace hearth::catalog
