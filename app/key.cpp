// hearth key create|ls|revoke: API keys of the workspace.
#include "app/remote.hpp"

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string name;
  std::string id;
};

Result<> create_key(const Options& options) {
  TRY(auto api, options.remote.open());
  const std::string request = nlohmann::json{{"name", options.name}}.dump();
  TRY(auto body, api.post("/api/v1/keys", request));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
    return {};
  }
  TRY(auto reply, parse_reply(body));
  std::fprintf(stderr, "Key %s. It is shown only now; keep it safe:\n", text_of(reply, "id").c_str());
  std::printf("%s\n", text_of(reply, "key").c_str());
  return {};
}

Result<> list_keys(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.get("/api/v1/keys"));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
    return {};
  }
  TRY(auto reply, parse_reply(body));
  std::vector<std::vector<std::string>> rows = {{"ID", "NAME", "WORKSPACE", "CREATED"}};
  for (const auto& key : reply.value("keys", nlohmann::json::array())) {
    rows.push_back(
        {text_of(key, "id"), text_of(key, "name"), text_of(key, "workspace"), text_of(key, "created").substr(0, 19)});
  }
  print_table(rows);
  return {};
}

Result<> revoke_key(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.remove("/api/v1/keys/" + client::url_escape(options.id)));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
  } else {
    std::printf("Revoked %s\n", options.id.c_str());
  }
  return {};
}

void add_key(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* key = parent.add_subcommand("key", "API keys: create, ls, revoke")->group(kModelCommands);
  key->require_subcommand(1);
  CLI::App* create = key->add_subcommand("create", "Make a key; it is shown once");
  create->add_option("name", options->name, "What the key is for")->required();
  add_remote_options(*create, options->remote);
  on_run(*create, [options] { return finish(create_key(*options)); });
  CLI::App* ls = key->add_subcommand("ls", "List keys (never the secrets)");
  add_remote_options(*ls, options->remote);
  on_run(*ls, [options] { return finish(list_keys(*options)); });
  CLI::App* revoke = key->add_subcommand("revoke", "End a key; requests with it are refused");
  revoke->add_option("id", options->id, "Key id, from 'hearth key ls'")->required();
  add_remote_options(*revoke, options->remote);
  on_run(*revoke, [options] { return finish(revoke_key(*options)); });
}

const Registration kRegistered("key", add_key);

}  // namespace

}  // namespace hearth::app
