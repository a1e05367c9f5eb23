// hearth rm MODEL: takes a model, a branch or one version out of service.
#include "app/remote.hpp"

#include <unistd.h>

#include <iostream>

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string model;
  std::optional<std::string> branch;
  std::optional<int> version;
  bool yes = false;
};

bool confirmed(const Options& options) {
  if (options.yes || options.version || ::isatty(STDIN_FILENO) == 0) return true;
  std::fprintf(stderr, "Remove %s%s with all its versions? [y/N] ", options.model.c_str(),
               options.branch ? (", branch " + *options.branch).c_str() : " on every branch");
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

Result<> remove_model(const Options& options) {
  TRY(auto api, options.remote.open());
  if (!confirmed(options)) return fail(ErrorCode::cancelled, "nothing removed");
  std::string path = "/api/v1/models/" + client::url_escape(options.model);
  if (options.branch) path += "?branch=" + client::url_escape(*options.branch);
  if (options.version)
    path += (options.branch ? "&" : "?branch=main&") + ("version=" + std::to_string(*options.version));
  TRY(auto body, api.remove(path));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
  } else {
    std::printf("Removed %s\n", options.model.c_str());
  }
  return {};
}

void add_rm(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* command = parent.add_subcommand("rm", "Remove a model, a branch or one version")->group(kModelCommands);
  command->add_option("model", options->model, "Model")->required();
  command->add_option("--branch", options->branch, "Only this branch");
  command->add_option("--version", options->version, "Only this version (branch main unless --branch)")
      ->check(CLI::PositiveNumber);
  command->add_flag("--yes,-y", options->yes, "Do not ask");
  add_remote_options(*command, options->remote);
  on_run(*command, [options] { return finish(remove_model(*options)); });
}

const Registration kRegistered("rm", add_rm);

}  // namespace

}  // namespace hearth::app
