#include "client/endpoint.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

namespace hearth::client {

namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::string home_directory() {
  if (auto home = environment("HOME")) return *home;
  const passwd* entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_dir : "/";
}

std::string without_trailing_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

std::filesystem::path user_context_path() {
  if (auto config = environment("XDG_CONFIG_HOME")) return std::filesystem::path(*config) / "hearth/context.json";
  return std::filesystem::path(home_directory()) / ".config/hearth/context.json";
}

Result<Context> read_context(const std::filesystem::path& path) {
  TRY(auto text, read_file(path, 64 * 1024));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("url") || !json["url"].is_string()) {
    return fail(ErrorCode::corrupt, path.string() + " is not a Hearth context; remove it and run 'hearth up' again");
  }
  auto text_of = [&json](const char* name) {
    return json.contains(name) && json[name].is_string() ? json[name].get<std::string>() : std::string();
  };
  return Context{text_of("url"), text_of("key"), text_of("data_dir")};
}

Result<> write_context(const std::filesystem::path& path, const Context& context) {
  TRY_VOID(make_directories(path.parent_path(), 0700));
  const nlohmann::json json = {{"url", context.url}, {"key", context.key}, {"data_dir", context.data_dir}};
  return write_file_atomic(path, json.dump(2) + "\n", 0600);
}

Result<Endpoint> resolve_endpoint(const std::optional<std::string>& url_flag,
                                  const std::optional<std::string>& key_flag) {
  Endpoint endpoint;
  const auto context = read_context(user_context_path());
  if (!context && context.error().code != ErrorCode::not_found) return Unexpected(context.error());
  const std::optional<std::string> url = url_flag ? url_flag : environment("HEARTH_URL");
  const std::optional<std::string> key = key_flag ? key_flag : environment("HEARTH_API_KEY");
  if (url) {
    endpoint.url = without_trailing_slash(*url);
  } else if (context) {
    endpoint.url = context->url;
  } else {
    return fail(ErrorCode::invalid_argument,
                "no server known: start one with 'hearth up', or give --url and --key (HEARTH_URL, HEARTH_API_KEY)");
  }
  if (!endpoint.url.starts_with("http://") && !endpoint.url.starts_with("https://")) {
    return fail(ErrorCode::invalid_argument,
                "'" + endpoint.url + "' is no URL; write for example http://127.0.0.1:8080");
  }
  if (key) {
    endpoint.key = *key;
  } else if (context && context->url == endpoint.url) {
    endpoint.key = context->key;
  }
  if (endpoint.key.empty()) {
    return fail(ErrorCode::denied, "no API key for " + endpoint.url + ": give --key or set HEARTH_API_KEY");
  }
  if (auto workspace = environment("HEARTH_WORKSPACE")) endpoint.workspace = *workspace;
  return endpoint;
}

}  // namespace hearth::client
