#include "mount/testing/test_store.hpp"

#include "base/random_id.hpp"
#include "image/import.hpp"
#include "image/store_scope.hpp"
#include "image/testing/layout_writer.hpp"

#include <stdexcept>

namespace hearth::mount::testing {

namespace {

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

std::filesystem::path memory_directory() {
  const std::filesystem::path shared_memory = "/dev/shm";
  return std::filesystem::is_directory(shared_memory) ? shared_memory : std::filesystem::temp_directory_path();
}

}  // namespace

TestStore::TestStore()
    : folder_(std::filesystem::temp_directory_path() / ("hearth-mount-test-" + random_id())),
      memory_folder_(memory_directory() / ("hearth-mount-test-" + random_id())) {
  std::filesystem::create_directories(folder_);
  std::filesystem::create_directories(memory_folder_ / "store");
  store_ = must(blob::open_store((memory_folder_ / "store").string()));
}

TestStore::~TestStore() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
  std::filesystem::remove_all(memory_folder_, ignored);
}

Digest TestStore::import_image(const std::vector<std::string>& layers) {
  const auto layout = memory_folder_ / ("layout-" + random_id());
  image::testing::write_layout(layout, {.layers = layers});
  return must(image::import_image(store_, image::StoreScope::workspace(kWorkspace), {.path = layout})).layer.digest;
}

Digest TestStore::add_layer(const image::FileTree& tree, const image::ChunkTable& chunks) {
  const auto layer = must(image::encode_layer(tree, chunks));
  must(store_->create(image::StoreScope::workspace(kWorkspace).layer_key(layer.digest), layer.bytes));
  return layer.digest;
}

image::LayerReader TestStore::open(const Digest& layer) const {
  return must(image::LayerReader::open(store_, kWorkspace, layer));
}

}  // namespace hearth::mount::testing
