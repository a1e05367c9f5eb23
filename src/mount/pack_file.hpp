// What a node has of one pack: a sparse file of the pack's plain space, and which pages of it are right.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "image/layer_index.hpp"
#include "image/store_scope.hpp"
#include "mount/disk_io.hpp"
#include "mount/layer_chunks.hpp"
#include "mount/pack_chunks.hpp"
#include "mount/page_range.hpp"
#include "mount/present_map.hpp"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// The disk that a pack file lies on, as the pack file sees it. DiskCache implements it. Thread-safe.
class CacheRoom {
 public:
  virtual ~CacheRoom() = default;
  /// Makes space by evicting; whether any was made. Called when the disk is full.
  virtual bool make_room(uint64_t bytes) = 0;
  /// So many bytes were written where there may have been a hole.
  virtual void stored(uint64_t bytes) = 0;
  /// The disk is at its bounds though everything that can be evicted was. Takes no lock.
  virtual bool is_tight() const = 0;
  /// The disk answers with I/O errors.
  virtual void disk_failed(std::string_view what) = 0;
  /// The last user of a pack file is gone.
  virtual void closed(const Digest& pack, uint64_t allocated_bytes) = 0;
};

/// Thread-safe; shared by all layers that have content in the pack. Comes from DiskCache::pack. Its bytes are addressed
/// by offsets in the pack's plain space.
///
/// A page is *present* when its bytes were verified in this epoch (see CacheOptions::epoch) and written. What was
/// present in an earlier epoch is a *candidate*: bytes that may be right, to be verified before anybody sees them.
///
/// The kernel pitfall: once the data file is marked for pre-content events, opening it again and touching it waits for
/// ourselves. Everything goes through data_fd(), which was opened before the mark.
class PackFile {
 public:
  struct Place {
    std::filesystem::path data;     // …/<hex>.data
    std::filesystem::path present;  // …/<hex>.present
    Digest epoch;
    DiskIo* io = nullptr;             // borrowed, outlives the file
    std::shared_ptr<CacheRoom> room;  // may be null
  };
  /// Opens or makes both files. `data`: a descriptor of the data file that was opened before it was marked, from an
  /// earlier life; empty: the file is opened, and must not be marked.
  static Result<std::shared_ptr<PackFile>> open(const image::PackInfo& info, Place place, UniqueFd data);
  ~PackFile();
  PackFile(const PackFile&) = delete;
  PackFile& operator=(const PackFile&) = delete;

  const Digest& digest() const { return digest_; }
  uint64_t plain_size() const { return plain_size_; }
  int data_fd() const { return data_.get(); }
  int present_fd() const { return present_.fd(); }

  // --- presence: no lock is taken, no call blocks. Bytes, rounded out to pages; false and nothing beyond the end.
  bool present(uint64_t offset, uint64_t length) const;
  /// The runs of pages in the range that are not present.
  std::vector<PageRange> missing(uint64_t offset, uint64_t length) const;
  /// Whether all pages of the range are candidates or present.
  bool on_disk(const PageRange& range) const;
  bool has_candidates(const PageRange& range) const;
  /// Of all pages that are present.
  uint64_t present_bytes() const;

  // --- content
  /// Writes verified bytes at a multiple of the page size (zeros up to the end of the last page), then says that their
  /// pages are present. exhausted: the disk is full and nothing could be evicted; internal: the disk failed. Then the
  /// pages stay missing.
  Result<> store(uint64_t offset, std::string_view bytes);
  /// The same, but the pages are left candidates.
  Result<> store_as_candidate(uint64_t offset, std::string_view bytes);
  /// The bytes of the pages are in the file and were verified by the caller.
  void confirm(const PageRange& range);
  /// The pages were found wrong: they are neither present nor candidates any more.
  void distrust(const PageRange& range);
  /// The candidates among the pages were found wrong.
  void drop_candidates(const PageRange& range);
  /// Bytes as they are in the file, present or not. corrupt when the file is shorter.
  Result<> read(uint64_t offset, char* to, size_t size) const;
  /// Writes back what was stored. When the disk fails, all pages become candidates: what it kept is not known.
  Result<> sync();
  /// Forgets the page cache of the range, as far as it is on disk, so that the next read is of the disk itself.
  void drop_page_cache(const PageRange& range) const;

  // --- layers
  /// The layer's chunks in this pack (its pack number `pack`) are known from here on, until it is removed as often as
  /// it was added. corrupt when it contradicts a registered layer or does not fit the file.
  Result<> add_layer(std::shared_ptr<const LayerChunks> layer, uint32_t pack);
  void remove_layer(const LayerChunks& layer);
  /// Chunks of registered layers with bytes in the range, in order.
  std::vector<PackChunk> chunks(const PageRange& range) const;
  /// Whether each page of the range belongs to a chunk of a registered layer.
  bool covers(const PageRange& range) const;
  std::vector<image::StoreScope> scopes() const;
  /// Every chunk of every registered layer is present. False while no layer is registered.
  bool complete() const { return complete_.load(std::memory_order_acquire); }
  /// Bytes of registered chunks that are not present.
  uint64_t missing_bytes() const;

  /// Changes when there may be new candidates or chunks: with a layer, and with doubt in the disk. Never 0.
  uint64_t revision() const { return revision_.load(std::memory_order_acquire); }

  /// Called each time complete() becomes true, in the thread that stored last: keep it short. Replaces an earlier one.
  void on_complete(std::function<void()> call);

  /// The pack that follows in a layer's order of data: where a reader goes on behind the end. May be null.
  void set_next(const std::shared_ptr<PackFile>& next);
  std::shared_ptr<PackFile> next() const;

  /// False while the disk is at its bounds and nothing is left to be evicted: then only demand is stored.
  bool room_for_prefetch() const { return !place_.room || !place_.room->is_tight(); }
  /// Bytes the data file takes on disk.
  uint64_t allocated_bytes() const;
  WallTime last_used() const { return present_.last_used(); }
  void touch() { present_.set_last_used(wall_now()); }

 private:
  PackFile(const image::PackInfo& info, Place place, UniqueFd data, PresentMap present);
  static Result<PresentMap> open_presence(const PresentHeader& header, const Place& place);
  PageRange all() const { return {0, plain_size_}; }
  PageRange inside(uint64_t offset, uint64_t length) const;
  Result<> check_pages(uint64_t offset, std::string_view bytes) const;
  Result<> write(uint64_t offset, std::string_view bytes);
  Result<> write_once(uint64_t offset, std::string_view bytes);
  void count_missing();
  void finish_change(std::unique_lock<std::mutex>& lock);

  const Digest digest_;
  const uint64_t plain_size_;
  const Place place_;
  const UniqueFd data_;
  PresentMap present_;

  std::mutex sync_mutex_;  // whoever asks for a sync waits for one that is under way
  mutable std::mutex mutex_;
  PackChunks chunks_;
  uint64_t missing_pages_ = 0;  // of chunks_
  bool has_layers_ = false;
  std::function<void()> on_complete_;
  std::weak_ptr<PackFile> next_;
  std::atomic<uint64_t> revision_{1};
  std::atomic<bool> complete_{false};
  std::atomic<bool> unsynced_{false};
};

}  // namespace hearth::mount
