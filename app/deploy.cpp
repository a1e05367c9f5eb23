// hearth deploy DIR: a folder becomes the next immutable version of a model.
#include "app/remote.hpp"
#include "base/file.hpp"
#include "catalog/model_config.hpp"
#include "client/folder.hpp"
#include "client/uploaded_operation.hpp"

#include <filesystem>

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string folder;
  std::string branch = "main";
  bool quiet = false;
};

constexpr uint64_t kConfigBytesMax = 1 << 20;

/// Reads and checks hearth.toml here too, so that a mistake costs no upload.
Result<std::string> read_config(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return fail(ErrorCode::invalid_argument,
                folder.string() + " is not a folder; give the folder that holds hearth.toml");
  }
  auto text = read_file(folder / "hearth.toml", kConfigBytesMax);
  if (!text && text.error().code == ErrorCode::not_found) {
    return fail(ErrorCode::invalid_argument,
                folder.string() +
                    " has no hearth.toml; the smallest one is:\n[model]\nname = \"my-model\"\nhandler = "
                    "\"model:predict\"");
  }
  if (!text) return Unexpected(text.error());
  auto config = catalog::parse_model_config(*text);
  if (!config) return fail_with_context((folder / "hearth.toml").string(), config.error());
  return text;
}

Result<std::vector<client::FolderEntry>> scan(const std::filesystem::path& folder, client::Progress& progress) {
  progress.phase("read", 0, "B");
  uint64_t read = 0;
  auto entries = client::scan_folder(folder, [&read, &progress](uint64_t bytes) {
    read += bytes;
    progress.advance_to(read);
  });
  if (entries) progress.finish();
  return entries;
}

void print_result(const nlohmann::json& result, const client::Endpoint& endpoint) {
  const std::string branch = text_of(result, "branch");
  std::printf("Deployed %s, branch %s, version %s\n", text_of(result, "model").c_str(), branch.c_str(),
              text_of(result, "version").c_str());
  if (result.value("stale_pyc", 0) > 0) {
    std::printf("  %d .pyc files do not match their source and would be recompiled at every start\n",
                result.value("stale_pyc", 0));
  }
  const std::string path = branch == "main" ? "" : "/" + client::url_escape(branch);
  std::printf("  this version  %s\n", text_of(result, "url").c_str());
  std::printf("  latest        %s/v1/%s%s/latest\n", endpoint.url.c_str(), text_of(result, "model").c_str(),
              path.c_str());
  std::printf("Try it: hearth call %s '<json>'%s\n", text_of(result, "model").c_str(),
              branch == "main" ? "" : (" --branch " + branch).c_str());
}

Result<> deploy(const Options& options) {
  TRY(auto config, read_config(options.folder));
  TRY(auto api, options.remote.open());
  client::Progress progress(options.quiet ? client::ProgressStyle::silent : client::default_progress_style());
  TRY(auto entries, scan(options.folder, progress));
  const nlohmann::json request = {{"branch", options.branch},
                                  {"config_toml", config},
                                  {"files", nlohmann::json::parse(client::manifest_json(entries))}};
  TRY(auto body, client::run_with_uploads(
                     api, {options.folder, std::move(entries), "/api/v1/deployments", request.dump()}, progress));
  TRY(auto result, parse_reply(body));
  progress.finish();
  if (options.remote.json) {
    std::printf("%s\n", result.dump().c_str());
  } else {
    print_result(result, api.endpoint());
  }
  return {};
}

void add_deploy(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      parent.add_subcommand("deploy", "Deploy a folder as the next version of a model")->group(kModelCommands);
  command->add_option("dir", options->folder, "Folder with hearth.toml and the model's code")->required();
  command->add_option("--branch", options->branch, "Branch to deploy to")->capture_default_str();
  command->add_flag("--quiet,-q", options->quiet, "No progress on standard error");
  add_remote_options(*command, options->remote);
  on_run(*command, [options] { return finish(deploy(*options)); });
}

const Registration kRegistered("deploy", add_deploy);

}  // namespace

}  // namespace hearth::app
