// One directory of the node's cache: which files are where, and how much they take.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace hearth::mount {

/// Thread-safe: it only knows paths.
class CacheDisk {
 public:
  /// Makes the directory's folders and takes its lock. denied: another process has it.
  static Result<CacheDisk> open(const std::filesystem::path& dir);

  const std::filesystem::path& dir() const { return dir_; }
  std::filesystem::path data_path(const Digest& pack) const { return in_folder("packs", pack, ".data"); }
  std::filesystem::path present_path(const Digest& pack) const { return in_folder("packs", pack, ".present"); }
  std::filesystem::path layer_path(const Digest& layer, std::string_view suffix) const {
    return in_folder("layers", layer, "." + std::string(suffix));
  }
  /// Makes the folder of such a path.
  static Result<> make_folder(const std::filesystem::path& path);

  struct Found {
    enum class Kind { pack, layer } kind;
    Digest digest;
    uint64_t bytes = 0;
    WallTime last_used;
  };
  /// Removes what is half-made, and calls back for each file of a pack or layer there is; a pack's two files are one.
  Result<> scan(const std::function<void(const Found&)>& found) const;

  struct Space {
    uint64_t free_bytes = 0;   // left to us
    uint64_t total_bytes = 0;  // of the file system
  };
  Result<Space> space() const;

  uint64_t layer_bytes(const Digest& layer) const;
  void touch_layer(const Digest& layer) const;
  /// unavailable when somebody has a file of it open; the others are gone then.
  Result<> remove_layer(const Digest& layer) const;
  Result<> remove_pack(const Digest& pack) const;

 private:
  CacheDisk(std::filesystem::path dir, UniqueFd lock) : dir_(std::move(dir)), lock_(std::move(lock)) {}
  std::filesystem::path in_folder(std::string_view kind, const Digest& digest, const std::string& suffix) const {
    return dir_ / kind / digest.hex().substr(0, 2) / (digest.hex() + suffix);
  }
  void for_each_layer_file(const Digest& layer, const std::function<void(const std::filesystem::path&)>& visit) const;

  std::filesystem::path dir_;
  UniqueFd lock_;
};

}  // namespace hearth::mount
