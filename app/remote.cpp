#include "app/remote.hpp"

#include "client/endpoint.hpp"

#include <algorithm>
#include <cstdio>

namespace hearth::app {

Result<client::ApiClient> Remote::open() const {
  TRY(auto endpoint, client::resolve_endpoint(url, key));
  if (workspace) endpoint.workspace = *workspace;
  return client::ApiClient(std::move(endpoint));
}

void add_remote_options(CLI::App& command, Remote& remote) {
  const char* group = "Server";
  command.add_option("--url", remote.url, "Server to talk to (else HEARTH_URL, else what 'hearth up' wrote)")
      ->group(group);
  command.add_option("--key", remote.key, "API key (else HEARTH_API_KEY, else what 'hearth up' wrote)")->group(group);
  command.add_option("--workspace", remote.workspace, "Workspace (else HEARTH_WORKSPACE, else the key's own)")
      ->group(group);
  command.add_flag("--json", remote.json, "Print JSON for programs on standard output");
}

Result<nlohmann::json> parse_reply(const std::string& body) {
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (json.is_discarded()) return fail(ErrorCode::corrupt, "the server's answer is not JSON; is that a Hearth server?");
  return json;
}

std::string text_of(const nlohmann::json& object, const char* name) {
  if (!object.is_object() || !object.contains(name)) return {};
  const auto& value = object[name];
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? std::string() : value.dump();
}

uint64_t count_of(const nlohmann::json& object, const char* name) {
  return object.contains(name) && object[name].is_number_unsigned() ? object[name].get<uint64_t>() : 0;
}

double number_of(const nlohmann::json& object, const char* name) {
  return object.contains(name) && object[name].is_number() ? object[name].get<double>() : 0;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    std::printf("%s\n", line.c_str());
  }
}

int finish(const Result<>& result) {
  return result ? kDone : report(result.error());
}

}  // namespace hearth::app
