// Which server a client command talks to, and the context file in which `hearth up` remembers it.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace hearth::client {

/// A server and the key to use there. The key is a secret: it never stands in a log or a command line we make.
struct Endpoint {
  std::string url;  // without a trailing slash, e.g. "http://127.0.0.1:8080"
  std::string key;
  std::string workspace;  // sent as X-Hearth-Workspace when not empty
};

/// What `hearth up` writes, mode 0600: DATA/context.json and the user's own context file.
struct Context {
  std::string url;
  std::string key;
  std::string data_dir;
};

/// $XDG_CONFIG_HOME/hearth/context.json, else ~/.config/hearth/context.json.
std::filesystem::path user_context_path();

/// not_found when there is no such file; corrupt when it is not one of ours.
Result<Context> read_context(const std::filesystem::path& path);
/// Atomic; mode 0600; makes the parent folder (0700).
Result<> write_context(const std::filesystem::path& path, const Context& context);

/// Flags win over HEARTH_URL / HEARTH_API_KEY, which win over the user's context file. Each of the two is looked up
/// by itself, but a key from the context is only used with the context's URL.
Result<Endpoint> resolve_endpoint(const std::optional<std::string>& url_flag,
                                  const std::optional<std::string>& key_flag);

}  // namespace hearth::client
