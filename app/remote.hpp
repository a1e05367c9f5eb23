// What every command that talks to a server shares: --url, --key, --workspace, --json, and reading its JSON.
#pragma once

#include "app/subcommand.hpp"
#include "base/result.hpp"
#include "client/api_client.hpp"

#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::app {

struct Remote {
  std::optional<std::string> url;
  std::optional<std::string> key;
  std::optional<std::string> workspace;
  bool json = false;

  /// Flags, else environment, else the context `hearth up` wrote.
  Result<client::ApiClient> open() const;
};

/// Adds the shared options to a subcommand.
void add_remote_options(CLI::App& command, Remote& remote);

/// The server's JSON, or `corrupt`.
Result<nlohmann::json> parse_reply(const std::string& body);

/// String member of an object; empty when absent or of another type.
std::string text_of(const nlohmann::json& object, const char* name);

/// Number members of an object; 0 when absent or of another type. A count is whole and not negative.
uint64_t count_of(const nlohmann::json& object, const char* name);
double number_of(const nlohmann::json& object, const char* name);

/// Columns aligned, two spaces between; the first row is the heading.
void print_table(const std::vector<std::vector<std::string>>& rows);

/// Turns a command body that returns Result<> into an exit status.
int finish(const Result<>& result);

}  // namespace hearth::app
