#include "router/inference_path.hpp"

#include "catalog/names.hpp"
#include "net/http_message.hpp"

#include <array>
#include <vector>

namespace hearth::router {
namespace {

constexpr std::array<std::string_view, 4> kReserved{"models", "chat", "completions", "embeddings"};

}  // namespace

Result<InferencePath> parse_inference_path(std::string_view path) {
  constexpr std::string_view kPrefix = "/v1/";
  constexpr std::string_view kExpected = "expected POST /v1/{model}/{branch}/{version} or /v1/{model}/{version}";
  const auto unknown = [&](std::string_view why) {
    return fail(ErrorCode::not_found, std::string(why) + ": " + std::string(kExpected));
  };
  if (!path.starts_with(kPrefix)) return unknown("no such address");
  path.remove_prefix(kPrefix.size());
  std::vector<std::string> parts;
  while (true) {
    const size_t slash = path.find('/');
    auto part = net::percent_decode(path.substr(0, slash));
    if (!part || part->empty()) return unknown("no such address");
    parts.push_back(std::move(*part));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  for (const std::string_view name : kReserved) {
    if (parts[0] == name) return unknown("/v1/" + parts[0] + " is reserved");
  }
  if (parts.size() == 2) {
    return InferencePath{.model = parts[0], .branch = std::string(catalog::kDefaultBranch), .version = parts[1]};
  }
  if (parts.size() != 3) return unknown("no such address");
  return InferencePath{.model = parts[0], .branch = catalog::branch_from_segment(parts[1]), .version = parts[2]};
}

}  // namespace hearth::router
