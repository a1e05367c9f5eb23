// Any bytes as the FUSE_INIT request that an earlier imagefs left with the holder: refused, or taken by libfuse as a
// conversation that goes on. Nothing answers: the device is /dev/null.
#include "base/random_id.hpp"
#include "image/file_tree.hpp"
#include "image/layer_encoder.hpp"
#include "mount/cached_layer.hpp"
#include "mount/disk_cache.hpp"
#include "mount/fuse_session.hpp"

#include <fcntl.h>
#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace image = hearth::image;
namespace mount = hearth::mount;

/// A layer of nothing but its root, in a cache that goes away with the program.
struct EmptyLayer {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("hearth-fuse-init-fuzz-" + hearth::random_id());
  std::shared_ptr<mount::DiskCache> cache;
  std::shared_ptr<mount::CachedLayer> layer;

  EmptyLayer() {
    cache = mount::DiskCache::open({.dirs = {folder}, .min_free_bytes = 1, .epoch = "fuzz"}).value();
    auto bytes = image::encode_layer(image::FileTree(), image::ChunkTable()).value().bytes;
    auto index = std::make_shared<const image::LayerIndex>(image::LayerIndex::decode(std::move(bytes)).value());
    layer = mount::CachedLayer::open(*cache, std::move(index), "fuzz").value();
  }
  ~EmptyLayer() {
    layer.reset();
    cache.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
};

void resume(std::string_view init) {
  static const EmptyLayer empty;
  hearth::UniqueFd device(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto session = mount::FuseSession::open(std::move(device), {.layer = empty.layer, .splice = false}).value();
  (void)session->resume(init).has_value();
}

/// What the fuzzer would hardly find by itself: opcode and length that fit.
std::string as_init(std::string_view bytes) {
  std::string init(bytes);
  if (init.size() < sizeof(fuse_in_header)) return init;
  fuse_in_header header{};
  std::memcpy(&header, init.data(), sizeof header);
  header.len = static_cast<uint32_t>(init.size());
  header.opcode = FUSE_INIT;
  std::memcpy(init.data(), &header, sizeof header);
  return init;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  resume(bytes);
  resume(as_init(bytes));
  return 0;
}
