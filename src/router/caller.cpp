#include "router/caller.hpp"

#include "catalog/api_key.hpp"

namespace hearth::router {

std::string_view workspace_of_host(std::string_view host, const catalog::Snapshot& snapshot) {
  const size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  const std::string_view label = host.substr(0, dot);
  return snapshot.has_workspace(label) ? label : std::string_view();
}

Admittance admit_caller(const net::HttpRequest& request, const catalog::Snapshot& snapshot) {
  const auto authorization = request.headers.find("Authorization");
  if (!authorization) return {.entry = Entry::no_key};
  const std::string_view secret = catalog::key_from_authorization(*authorization);
  if (secret.empty()) return {.entry = Entry::no_key};
  const catalog::ApiKey* key = snapshot.find_key(catalog::key_digest(secret));
  if (key == nullptr) return {.entry = Entry::unknown_key};
  std::string_view named = request.headers.find("X-Hearth-Workspace").value_or("");
  if (named.empty()) named = workspace_of_host(request.headers.find("Host").value_or(""), snapshot);
  if (!named.empty() && named != key->workspace) return {.entry = Entry::other_workspace, .key = key};
  return {.entry = Entry::granted, .key = key};
}

}  // namespace hearth::router
