#include "mount/testing/lazy_backends.hpp"

#include "holder/client.hpp"
#include "holder/server.hpp"
#include "mount/backend_probe.hpp"
#include "mount/backends.hpp"
#include "mount/testing/child_process.hpp"

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <thread>

namespace hearth::mount::testing {

namespace {

class WithHolder final : public LayerBackend {
 public:
  WithHolder(Config config, std::shared_ptr<blob::ObjectStore> store)
      : holder_([&config] { return holder::serve({.socket = config.dir / "holder.sock"}).has_value(); }) {
    config.holder = config.dir / "holder.sock";
    wait_for_holder(config.holder);
    auto opened = open_backend(config, store);
    if (!opened) throw std::runtime_error(opened.error().message);
    backend_ = std::move(*opened);
  }

  std::string_view name() const override { return backend_->name(); }
  Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) override {
    return backend_->mount_layer(question, progress);
  }
  void stop() override { backend_->stop(); }

 private:
  ChildProcess holder_;
  std::unique_ptr<LayerBackend> backend_;
};

}  // namespace

std::unique_ptr<LayerBackend> open_lazy(Config config, std::shared_ptr<blob::ObjectStore> store) {
  std::filesystem::create_directories(config.dir);
  // What a test has cached stays, however full the disk of the machine is.
  if (config.cache_min_free_bytes == 0) config.cache_min_free_bytes = 1;
  return std::make_unique<WithHolder>(std::move(config), std::move(store));
}

std::unique_ptr<LayerBackend> open_lazy_erofs(const std::filesystem::path& folder,
                                              std::shared_ptr<blob::ObjectStore> store) {
  return open_lazy({.dir = folder, .backend = "erofs"}, std::move(store));
}

std::unique_ptr<LayerBackend> open_lazy_fuse(const std::filesystem::path& folder,
                                             std::shared_ptr<blob::ObjectStore> store) {
  return open_lazy({.dir = folder, .backend = "fuse"}, std::move(store));
}

bool lazy_erofs_is_possible() {
  static const bool possible = probe_erofs("/var/tmp").has_value();
  return possible;
}

bool lazy_fuse_is_possible() {
  static const bool possible = ::geteuid() == 0 && probe_fuse().has_value();
  return possible;
}

void wait_for_holder(const std::filesystem::path& socket) {
  for (int i = 0; i < 500 && !holder::Client(socket).list(""); ++i) std::this_thread::sleep_for(milliseconds(10));
}

}  // namespace hearth::mount::testing
