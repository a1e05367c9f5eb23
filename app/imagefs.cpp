// hearth imagefs: makes layers appear as folders.
#include "mount/imagefs.hpp"

#include "app/role_settings.hpp"

#include <memory>

namespace hearth::app {

namespace {

void add_cache_options(CLI::App& command, mount::Config& config) {
  command.add_option("--image-backend", config.backend, "How images become folders: auto, erofs, fuse or unpack")
      ->capture_default_str();
  command.add_option("--cache-dir", config.cache_dirs,
                     "Folder for cached content; again for more disks (default: in --dir)");
  command
      .add_option("--cache-size", config.cache_bytes,
                  "Most that is cached, e.g. 200GB (default: free space alone bounds it)")
      ->transform(CLI::AsSizeValue(false));
  command
      .add_option("--cache-min-free", config.cache_min_free_bytes, "Left free on each disk (default: a tenth of it)")
      ->transform(CLI::AsSizeValue(false));
  command
      .add_option_function<double>(
          "--read-deadline",
          [&config](double value) {
            config.read_deadline = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
          },
          "Seconds after which a read that cannot be served fails")
      ->default_str("60");
  command.add_option("--pack-url", config.pack_url, "A CDN or HTTP cache to read content from, before the store");
  command.add_option("--pack-url-secret-file", config.pack_url_secret, "Signs its URLs (docs/stores.md)");
  command
      .add_option("--prefetch-rate", config.prefetch_bytes_per_second,
                  "Most bytes a second that are fetched ahead of readers, e.g. 50MB (default: as fast as it goes)")
      ->transform(CLI::AsSizeValue(false));
}

void add_imagefs(CLI::App& parent) {
  auto config = std::make_shared<mount::Config>();
  CLI::App* command = parent.add_subcommand("imagefs", "Make images appear as folders")->group(kRoleCommands);
  command->add_option("--socket", config->socket, "Unix socket to listen on");
  command->add_option("--dir", config->dir, "Folder for its own data");
  command->add_option("--store", config->store, "Object store: a folder or URL");
  command->add_option("--holder", config->holder, "Socket of the holder, which keeps mounts over restarts");
  add_cache_options(*command, *config);
  const RoleSettings settings = RoleSettings(*command, "imagefs").require({"socket", "dir", "store"});
  on_run(*command, [config, settings] {
    settings.apply();
    begin_role("imagefs");
    const auto served = mount::serve(*config);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("imagefs", add_imagefs);

}  // namespace

}  // namespace hearth::app
