#include "node/launcher.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace hearth::node {

namespace {
constexpr uint32_t kOutputLimitBytes = 64 * 1024;  // of stdout and of stderr, a request
constexpr int kFirstInheritedFd = 3;
constexpr size_t kLastWordsMax = 500;
}  // namespace

std::string runner_settings(const LaunchRequest& request, std::string_view code) {
  const catalog::ModelConfig& config = request.version.config;
  nlohmann::json worker_fds = nlohmann::json::array();
  for (size_t i = 1; i < request.listen_fds.size(); ++i) worker_fds.push_back(kFirstInheritedFd + i);
  nlohmann::json settings = {{"handler", config.handler},
                             {"mode", catalog::to_string(config.mode)},
                             {"preload", config.preload},
                             {"slots", config.resources.slots},
                             {"code", code},
                             {"control_fd", kFirstInheritedFd},
                             {"worker_fds", std::move(worker_fds)},
                             {"preload_imports", request.preload_imports},
                             {"max_batch", request.max_batch},
                             {"stdout_limit", kOutputLimitBytes}};
  if (!config.setup.empty()) settings["setup"] = config.setup;
  if (!config.ready.empty()) settings["ready"] = config.ready;
  return settings.dump();
}

std::string to_string(const ProcessEnd& end) {
  std::string text;
  if (!end.known) {
    text = "nobody saw how";
  } else if (end.out_of_memory) {
    text = "out of memory (killed by signal " + std::to_string(end.signal) + ")";
  } else if (end.signal != 0) {
    text = "killed by signal " + std::to_string(end.signal);
  } else {
    text = "exit code " + std::to_string(end.code);
  }
  return end.last_words.empty() ? text : text + ": " + end.last_words;
}

std::string last_line_of(const std::filesystem::path& file) {
  constexpr uint64_t kLimitBytes = 1 << 20;
  const std::string text = read_file(file, kLimitBytes).value_or("");
  const size_t end = text.find_last_not_of("\n\r ");
  if (end == std::string::npos) return {};
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, std::min<size_t>(end - begin, kLastWordsMax));
}

}  // namespace hearth::node
