// What a node has of one pack, for those who only look: the file that layers use, or the one that lies unused on disk.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/pack_file.hpp"
#include "mount/present_map.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

namespace hearth::mount {

/// Thread-safe. Whoever has a view keeps the pack from being evicted. It never changes anything.
class PackView {
 public:
  explicit PackView(std::shared_ptr<PackFile> open) : open_(std::move(open)) {}

  struct Files {
    std::filesystem::path data;
    std::filesystem::path present;
  };
  /// Of a pack that nobody has open. not_found when nothing of it was verified in this epoch. Its files are opened for
  /// reading anew: should they carry marks after all, reads of present pages are answered by the holder.
  static Result<PackView> of_closed(const Files& files, const Digest& pack, const Digest& epoch);

  uint64_t plain_size() const { return open_ ? open_->plain_size() : closed_->present.header().plain_size; }
  /// Whether all pages of the range hold verified bytes. False beyond the end.
  bool present(uint64_t offset, uint64_t length) const;
  /// Bytes of pages that hold verified bytes.
  uint64_t present_bytes() const;
  /// Bytes as they are in the file.
  Result<> read(uint64_t offset, char* to, size_t size) const;

 private:
  struct Closed {
    UniqueFd data;
    PresentMap present;
  };
  explicit PackView(Closed closed) : closed_(std::move(closed)) {}

  std::shared_ptr<PackFile> open_;
  std::optional<Closed> closed_;  // when open_ is null
};

}  // namespace hearth::mount
