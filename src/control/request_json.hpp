// Reading the JSON bodies and query parameters of admin requests, with errors that name the field.
#pragma once

#include "base/result.hpp"
#include "catalog/version_record.hpp"
#include "control/admin_call.hpp"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace hearth::control {

/// The body as a JSON object.
Result<nlohmann::json> body_object(const AdminCall& call);
/// A required string member.
Result<std::string> text_member(const nlohmann::json& object, const char* name);

/// Branch from ?branch= ("main" without), "~" for "/" allowed, checked.
Result<catalog::BranchRef> branch_of_query(const AdminCall& call, const std::string& model);
/// ?name= as a positive number up to `most`; nullopt when absent.
Result<std::optional<uint64_t>> number_of_query(const AdminCall& call, const char* name, uint64_t most);
/// ?since=: "2026-11-22T13:00:00Z", or "10m" ago.
Result<std::optional<WallTime>> since_of_query(const AdminCall& call);

/// Checks the shape of an upload manifest (the entries' meaning is the node's concern) and lists the parts it names.
Result<std::vector<std::string>> parts_of_manifest(const nlohmann::json& files);

/// 64 lower-case hex digits.
Result<> check_hex_digest(const std::string& text);

}  // namespace hearth::control
