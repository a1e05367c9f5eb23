// hearth ls: models, branches, versions, aliases.
#include "app/remote.hpp"

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string model;
};

std::string aliases_of(const nlohmann::json& branch, const nlohmann::json& version) {
  std::string out;
  if (branch.contains("latest") && branch["latest"] == version) out = "latest";
  if (!branch.contains("aliases")) return out;
  for (const auto& [name, target] : branch["aliases"].items()) {
    if (target == version) out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

void print_models(const nlohmann::json& models) {
  std::vector<std::vector<std::string>> rows = {{"MODEL", "BRANCH", "VERSION", "STATE", "CREATED", "ALIASES"}};
  for (const auto& branch : models) {
    for (const auto& version : branch.value("versions", nlohmann::json::array())) {
      rows.push_back({text_of(branch, "model"), text_of(branch, "branch"), text_of(version, "version"),
                      text_of(version, "state"), text_of(version, "created").substr(0, 19),
                      aliases_of(branch, version.value("version", nlohmann::json()))});
    }
  }
  if (rows.size() == 1) {
    std::fprintf(stderr, "No models yet. Deploy one: hearth deploy DIR\n");
    return;
  }
  print_table(rows);
}

Result<> list_models(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.get("/api/v1/models"));
  TRY(auto reply, parse_reply(body));
  auto models = nlohmann::json::array();
  for (const auto& branch : reply.value("models", nlohmann::json::array())) {
    if (options.model.empty() || text_of(branch, "model") == options.model) models.push_back(branch);
  }
  if (!options.model.empty() && models.empty()) {
    return fail(ErrorCode::not_found, "no model named '" + options.model + "'; 'hearth ls' lists all");
  }
  if (options.remote.json) {
    std::printf("%s\n", nlohmann::json{{"models", models}}.dump().c_str());
  } else {
    print_models(models);
  }
  return {};
}

void add_ls(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* command = parent.add_subcommand("ls", "List models, versions and aliases")->group(kModelCommands);
  command->add_option("model", options->model, "Only this model");
  add_remote_options(*command, options->remote);
  on_run(*command, [options] { return finish(list_models(*options)); });
}

const Registration kRegistered("ls", add_ls);

}  // namespace

}  // namespace hearth::app
