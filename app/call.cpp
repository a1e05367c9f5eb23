// hearth call MODEL [DATA]: one inference, as a caller would make it.
#include "app/remote.hpp"
#include "base/file.hpp"

#include <unistd.h>

#include <iostream>
#include <iterator>

namespace hearth::app {

namespace {

struct Options {
  Remote remote;
  std::string model;
  std::string data;
  std::string file;
  std::string branch = "main";
  std::string version = "latest";
  std::optional<double> timeout_seconds;
};

/// DATA as given, or from --file, or from standard input.
Result<std::string> input_of(const Options& options) {
  if (!options.data.empty() && options.data != "-") return options.data;
  if (!options.file.empty()) return read_file(options.file);
  if (options.data.empty() && ::isatty(STDIN_FILENO) != 0) {
    return fail(ErrorCode::invalid_argument, "no data: give JSON as an argument, --file FILE, or on standard input");
  }
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

/// A whole request body is passed on; anything else becomes its `data`.
Result<std::string> body_of(const Options& options) {
  TRY(auto text, input_of(options));
  auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    return fail(ErrorCode::invalid_argument,
                "the data is not JSON; text needs quotes: hearth call " + options.model + " '\"text\"'");
  }
  // The text itself is passed on, not its reparsed form: numbers keep every digit.
  if (json.is_object() && json.contains("data") && !options.timeout_seconds) return text;
  std::string body = R"({"data":)" + (json.is_object() && json.contains("data") ? json["data"].dump() : text);
  if (options.timeout_seconds) body += R"(,"timeout_seconds":)" + std::to_string(*options.timeout_seconds);
  return body + "}";
}

std::string branch_segment(std::string branch) {
  for (char& c : branch) {
    if (c == '/') c = '~';
  }
  return client::url_escape(branch);
}

Result<int> call(const Options& options) {
  TRY(auto body, body_of(options));
  TRY(auto api, options.remote.open());
  const std::string path = "/v1/" + client::url_escape(options.model) + "/" + branch_segment(options.branch) + "/" +
                           client::url_escape(options.version);
  TRY(auto reply, api.exchange("POST", path, body));
  auto json = nlohmann::ordered_json::parse(reply.body, nullptr, false);
  const bool failed = reply.status >= 400;
  if (options.remote.json || json.is_discarded()) {
    std::printf("%s\n", reply.body.c_str());
  } else if (json.contains("data")) {
    std::printf("%s\n", json["data"].dump().c_str());
  }
  if (failed && json.is_object() && json.contains("error") && json["error"].is_string()) {
    std::fprintf(stderr, "hearth: %s (status %d)\n", json["error"].get<std::string>().c_str(), reply.status);
  }
  return failed ? kFailed : kDone;
}

void add_call(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* command = parent.add_subcommand("call", "Call a model with JSON data")->group(kModelCommands);
  command->add_option("model", options->model, "Model to call")->required();
  command->add_option("data", options->data,
                      "JSON: the argument, a list of arguments, or [[id, arg], …]; - or nothing reads standard input");
  command->add_option("--file,-f", options->file, "Read the data from a file")->check(CLI::ExistingFile);
  command->add_option("--branch", options->branch, "Branch")->capture_default_str();
  command->add_option("--version", options->version, "Version number, alias or latest")->capture_default_str();
  command->add_option("--timeout", options->timeout_seconds, "Seconds after which the answer is of no use")
      ->check(CLI::PositiveNumber);
  add_remote_options(*command, options->remote);
  on_run(*command, [options] {
    const auto status = call(*options);
    return status ? *status : report(status.error());
  });
}

const Registration kRegistered("call", add_call);

}  // namespace

}  // namespace hearth::app
