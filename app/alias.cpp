// hearth alias set|rm|ls: mutable names for immutable versions.
#include "app/remote.hpp"

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string model;
  std::string alias;
  int version = 0;
  std::string branch = "main";

  std::string path() const {
    std::string out = "/api/v1/models/" + client::url_escape(model) + "/aliases";
    if (!alias.empty()) out += "/" + client::url_escape(alias);
    return out + "?branch=" + client::url_escape(branch);
  }
};

Result<> set_alias(const Options& options) {
  TRY(auto api, options.remote.open());
  const std::string body = nlohmann::json{{"version", options.version}}.dump();
  TRY(auto reply, api.put(options.path(), body, "application/json"));
  if (options.remote.json) {
    std::printf("%s\n", reply.c_str());
  } else {
    std::printf("%s/%s/%s -> version %d\n", options.model.c_str(), options.branch.c_str(), options.alias.c_str(),
                options.version);
  }
  return {};
}

Result<> remove_alias(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto reply, api.remove(options.path()));
  if (options.remote.json) std::printf("%s\n", reply.c_str());
  return {};
}

Result<> list_aliases(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.get(options.path()));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
    return {};
  }
  TRY(auto reply, parse_reply(body));
  std::vector<std::vector<std::string>> rows = {{"ALIAS", "VERSION"}};
  for (const auto& [name, version] : reply.value("aliases", nlohmann::json::object()).items())
    rows.push_back({name, version.dump()});
  print_table(rows);
  return {};
}

CLI::App* add_verb(CLI::App& alias, const char* name, const char* help, Options& options) {
  CLI::App* command = alias.add_subcommand(name, help);
  command->add_option("model", options.model, "Model")->required();
  command->add_option("--branch", options.branch, "Branch")->capture_default_str();
  add_remote_options(*command, options.remote);
  return command;
}

void add_alias(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* alias = parent.add_subcommand("alias", "Name versions: set, rm, ls")->group(kModelCommands);
  alias->require_subcommand(1);
  CLI::App* set = add_verb(*alias, "set", "Point an alias at a version", *options);
  set->add_option("alias", options->alias, "Alias")->required();
  set->add_option("version", options->version, "Version number")->required()->check(CLI::PositiveNumber);
  on_run(*set, [options] { return finish(set_alias(*options)); });
  CLI::App* rm = add_verb(*alias, "rm", "Remove an alias", *options);
  rm->add_option("alias", options->alias, "Alias")->required();
  on_run(*rm, [options] { return finish(remove_alias(*options)); });
  CLI::App* ls = add_verb(*alias, "ls", "List the aliases of a model", *options);
  on_run(*ls, [options] { return finish(list_aliases(*options)); });
}

const Registration kRegistered("alias", add_alias);

}  // namespace

}  // namespace hearth::app
