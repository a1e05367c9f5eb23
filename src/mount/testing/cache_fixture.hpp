// What tests of the node's cache share: a store in a directory with layers of known content, a cache beside it, and
// stand-ins for a failing store and a failing disk.
#pragma once

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "mount/cached_layer.hpp"
#include "mount/disk_cache.hpp"
#include "mount/disk_io.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

namespace hearth::mount::testing {

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Result<>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// Bytes that do not compress, the same for the same seed.
inline std::string noise(size_t size, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t value = random();
    std::memcpy(bytes.data() + at, &value, std::min(sizeof value, size - at));
  }
  return bytes;
}

/// Bytes that compress well.
inline std::string prose(size_t size, uint32_t seed) {
  std::string bytes;
  for (uint32_t i = 0; bytes.size() < size; ++i) bytes += "line " + std::to_string(i * 7 + seed) + " of a text\n";
  bytes.resize(size);
  return bytes;
}

using Files = std::map<std::string, std::string>;  // path → content

/// A folder under /tmp (or elsewhere) that goes away with it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& below = "/tmp") : path_(below + "/hearth-cache-" + random_id(8)) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A directory store, and layers in it.
class LayerStore {
 public:
  LayerStore() { std::filesystem::create_directories(folder_.path() / "store"); }

  std::shared_ptr<blob::ObjectStore> store() {
    if (!store_) store_ = must(blob::open_store((folder_.path() / "store").string()));
    return store_;
  }
  std::filesystem::path object(const std::string& key) const { return folder_.path() / "store" / key; }

  std::shared_ptr<const image::LayerIndex> build(const Files& files, const std::string& workspace = "acme") {
    const auto source = folder_.path() / ("source-" + random_id(8));
    for (const auto& [path, content] : files) {
      std::filesystem::create_directories((source / path).parent_path());
      must(write_file_atomic(source / path, content));
    }
    const auto scope = workspace == "shared" ? image::StoreScope::shared() : image::StoreScope::workspace(workspace);
    const auto made = must(image::build_layer_from_directory(store(), scope, source));
    std::filesystem::remove_all(source);
    return must(image::LayerReader::open(store(), workspace == "shared" ? "any" : workspace, made.digest))
        .shared_index();
  }

 private:
  TemporaryFolder folder_{"/dev/shm"};  // a store syncs all it does
  std::shared_ptr<blob::ObjectStore> store_;
};

/// SIMULATED disk: real files, with errors where the test says so.
class SimulatedDisk final : public DiskIo {
 public:
  std::atomic<int> write_error{0};  // errno of all writes, 0: none
  std::atomic<int> read_error{0};
  std::atomic<int> sync_error{0};
  std::atomic<int> writes{0};
  std::atomic<size_t> largest_write{SIZE_MAX};  // more is written in part

  ssize_t pread(int fd, char* to, size_t size, uint64_t offset) override {
    return read_error != 0 ? failed(read_error) : DiskIo::pread(fd, to, size, offset);
  }
  ssize_t pwrite(int fd, const char* from, size_t size, uint64_t offset) override {
    ++writes;
    return write_error != 0 ? failed(write_error)
                            : DiskIo::pwrite(fd, from, std::min(size, largest_write.load()), offset);
  }
  int fdatasync(int fd) override {
    return sync_error != 0 ? static_cast<int>(failed(sync_error)) : DiskIo::fdatasync(fd);
  }

 private:
  static ssize_t failed(int error) {
    errno = error;
    return -1;
  }
};

/// The plain bytes of a chunk, from the store.
inline std::string plain_bytes(LayerStore& layers, const image::LayerIndex& index, uint32_t chunk,
                               const std::string& workspace = "acme") {
  return must(must(image::LayerReader::open(layers.store(), workspace, index.digest())).read_chunk(chunk));
}

}  // namespace hearth::mount::testing
