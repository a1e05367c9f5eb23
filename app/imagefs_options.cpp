#include "app/imagefs_options.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <map>

namespace hearth::app {

namespace {

using Seconds = std::chrono::duration<double>;

const std::map<std::string, mount::Completion> kCompletions = {{"off", mount::Completion::off},
                                                               {"mounted", mount::Completion::mounted}};

void add_size(CLI::App& command, const std::string& flag, uint64_t& value, const std::string& description) {
  command.add_option(flag, value, description)->transform(CLI::AsSizeValue(false));
}

void add_seconds(CLI::App& command, const std::string& flag, Duration& value, const std::string& description) {
  const std::string usual = fmt::format("{}", Seconds(value).count());
  const auto take = [&value](double given) { value = std::chrono::duration_cast<Duration>(Seconds(given)); };
  command.add_option_function<double>(flag, take, description)->default_str(usual);
}

}  // namespace

void add_imagefs_options(CLI::App& command, mount::Config& config) {
  command.add_option("--image-backend", config.backend, "How images become folders: auto, erofs, fuse or unpack")
      ->capture_default_str();
  command.add_option("--cache-dir", config.cache_dirs,
                     "Folder for cached content; again for more disks (default: in --dir)");
  add_size(command, "--cache-size", config.cache_bytes,
           "Most that is cached, e.g. 200GB (default: free space alone bounds it)");
  add_size(command, "--cache-min-free", config.cache_min_free_bytes, "Left free on each disk (default: a tenth of it)");
  add_seconds(command, "--read-deadline", config.read_deadline,
              "Seconds after which a read that cannot be served fails");
  command.add_option("--pack-url", config.pack_url, "A CDN or HTTP cache to read content from, before the store");
  command.add_option("--pack-url-secret-file", config.pack_url_secret, "Signs its URLs (docs/stores.md)");
  command.add_option("--peer", config.peers,
                     "HOST:PORT of a node to read content from, before the store; again for more");
  command.add_option("--peer-listen", config.peer_listen,
                     "HOST:PORT to give other nodes what this one has (docs/formats/peer.md)");
  command.add_option("--peer-secret-file", config.peer_secret, "The secret that these nodes share");
  add_size(command, "--prefetch-rate", config.prefetch_bytes_per_second,
           "Most bytes a second that are fetched ahead of readers, e.g. 50MB (default: as fast as it goes)");
  command
      .add_option("--complete", config.complete,
                  "Whether the rest of mounted images is fetched while nobody waits: off or mounted")
      ->transform(CLI::CheckedTransformer(kCompletions))
      ->default_str("mounted");
  add_seconds(command, "--scrub-every", config.scrub_every,
              "Seconds after which complete content is read again from its disk and compared");
}

std::vector<std::string> imagefs_arguments(const mount::Config& config) {
  const mount::Config usual;
  std::vector<std::string> args = {"--image-backend", config.backend};
  const auto add = [&args](const std::string& flag, std::string value) {
    args.push_back(flag);
    args.push_back(std::move(value));
  };
  const auto add_number = [&add](const std::string& flag, uint64_t value, uint64_t usual_value) {
    if (value != usual_value) add(flag, std::to_string(value));
  };
  // Absolute: a detached supervisor works elsewhere.
  for (const auto& dir : config.cache_dirs) add("--cache-dir", std::filesystem::absolute(dir));
  add_number("--cache-size", config.cache_bytes, usual.cache_bytes);
  add_number("--cache-min-free", config.cache_min_free_bytes, usual.cache_min_free_bytes);
  const auto add_duration = [&add](const std::string& flag, Duration value, Duration usual_value) {
    if (value != usual_value) add(flag, fmt::format("{}", Seconds(value).count()));
  };
  add_duration("--read-deadline", config.read_deadline, usual.read_deadline);
  if (!config.pack_url.empty()) add("--pack-url", config.pack_url);
  if (!config.pack_url_secret.empty()) {
    add("--pack-url-secret-file", std::filesystem::absolute(config.pack_url_secret));
  }
  for (const auto& peer : config.peers) add("--peer", peer);
  if (!config.peer_listen.empty()) add("--peer-listen", config.peer_listen);
  if (!config.peer_secret.empty()) add("--peer-secret-file", std::filesystem::absolute(config.peer_secret));
  add_number("--prefetch-rate", config.prefetch_bytes_per_second, usual.prefetch_bytes_per_second);
  if (config.complete == mount::Completion::off) add("--complete", "off");
  add_duration("--scrub-every", config.scrub_every, usual.scrub_every);
  return args;
}

}  // namespace hearth::app
