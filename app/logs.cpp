// hearth logs MODEL: one record a request, newest last; -f follows.
#include "app/remote.hpp"

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string model;
  std::optional<std::string> branch;
  std::optional<int> version;
  int limit = 100;
  bool follow = false;
};

void print_indented(const char* label, const std::string& text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::printf("    %s | %s\n", label, text.substr(begin, end - begin).c_str());
    begin = end + 1;
  }
}

std::string milliseconds_of(const nlohmann::json& record, const char* name) {
  const double us = record.contains(name) && record[name].is_number() ? record[name].get<double>() : 0;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", us / 1000);
  return text;
}

void print_record(const nlohmann::json& record) {
  const std::string alias = text_of(record, "alias");
  std::printf("%s %s %s/%s/%s%s %s (run %s) %s\n", text_of(record, "started").substr(0, 23).c_str(),
              text_of(record, "status").c_str(), text_of(record, "model").c_str(), text_of(record, "branch").c_str(),
              text_of(record, "version").c_str(), alias.empty() ? "" : (" (" + alias + ")").c_str(),
              milliseconds_of(record, "total_us").c_str(), milliseconds_of(record, "run_us").c_str(),
              text_of(record, "id").c_str());
  print_indented("out", text_of(record, "stdout"));
  print_indented("err", text_of(record, "stderr"));
  const auto error = record.value("error", nlohmann::json());
  print_indented("error", error.is_object() ? text_of(error, "error") : text_of(record, "error"));
  print_indented("stack", text_of(error, "stack"));
}

Result<> show_logs(const Options& options) {
  TRY(auto api, options.remote.open());
  std::string path =
      "/api/v1/models/" + client::url_escape(options.model) + "/logs?limit=" + std::to_string(options.limit);
  if (options.branch) path += "&branch=" + client::url_escape(*options.branch);
  if (options.version) path += "&version=" + std::to_string(*options.version);
  if (options.follow) path += "&follow=1";
  return api.stream_lines(path, [&options](std::string_view line) {
    if (options.remote.json) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    } else {
      const auto record = nlohmann::json::parse(line, nullptr, false);
      if (record.is_object()) print_record(record);
    }
    std::fflush(stdout);
    return true;
  });
}

void add_logs(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* command = parent.add_subcommand("logs", "Show the request log of a model")->group(kModelCommands);
  command->add_option("model", options->model, "Model")->required();
  command->add_option("--branch", options->branch, "Only this branch");
  command->add_option("--version", options->version, "Only this version")->check(CLI::PositiveNumber);
  command->add_option("--limit,-n", options->limit, "How many of the newest records")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--follow,-f", options->follow, "Go on with new records as they come");
  add_remote_options(*command, options->remote);
  on_run(*command, [options] { return finish(show_logs(*options)); });
}

const Registration kRegistered("logs", add_logs);

}  // namespace

}  // namespace hearth::app
