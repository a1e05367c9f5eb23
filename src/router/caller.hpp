// Who calls: from the API key to the workspace.
#pragma once

#include "catalog/snapshot.hpp"
#include "net/http_message.hpp"

#include <string>
#include <string_view>

namespace hearth::router {

struct Caller {
  std::string workspace;
  std::string key_id;
};

/// Whether the catalog was read again because a request named something unknown.
enum class Try { first, refreshed };

/// Why a request is not let in.
enum class Entry { granted, no_key, unknown_key, other_workspace };

struct Admittance {
  Entry entry = Entry::no_key;
  const catalog::ApiKey* key = nullptr;  // lives as long as the snapshot
};

/// Key: `Authorization: <key>` or `Bearer <key>`. The workspace is the key's; X-Hearth-Workspace or a host name
/// <workspace>.domain that names another one is refused.
Admittance admit_caller(const net::HttpRequest& request, const catalog::Snapshot& snapshot);

/// "team.example.com:8080" → "team" when the snapshot knows a workspace of that name, else empty.
std::string_view workspace_of_host(std::string_view host, const catalog::Snapshot& snapshot);

}  // namespace hearth::router
