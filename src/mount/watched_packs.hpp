// The packs whose readers we serve: known to the holder by a token, marked as long as something in them is missing.
#pragma once

#include "base/result.hpp"
#include "mount/holder_link.hpp"
#include "mount/pack_file.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// Thread-safe.
class WatchedPacks {
 public:
  /// Borrowed: outlives it.
  explicit WatchedPacks(HolderLink& holder) : holder_(holder) {}

  /// Marks the file and has its events sent; a complete one, too, until unmark_complete(). Before it is mounted: the
  /// kernel decides when a file is opened whether its reads can ever raise events (see mark_again). `observe`: also
  /// what the holder allows by itself is told. Again: that alone changes, from no to yes.
  Result<> watch(const std::shared_ptr<PackFile>& pack, holder::Observe observe);
  /// Nobody wants to be told any more of reads that find their pages present.
  void stop_observing(const std::shared_ptr<PackFile>& pack);
  /// Null: not watched.
  std::shared_ptr<PackFile> find(uint64_t token) const;
  /// Packs that have become complete lose their marks, under live mounts: from then on they cost nothing. Their bytes
  /// are on the disk before that; a pack whose disk fails to take them is not complete any more, and keeps its mark.
  void unmark_complete();
  /// A page of a pack without a mark was found wrong: its readers wait again until all of it is right.
  Result<> mark_again(const std::shared_ptr<PackFile>& pack);
  /// No mount reads it any more.
  void forget(const std::shared_ptr<PackFile>& pack);

 private:
  Result<> mark(const std::shared_ptr<PackFile>& pack, holder::Observe observe);
  std::vector<std::shared_ptr<PackFile>> complete_and_marked() const;
  void unmark(const std::shared_ptr<PackFile>& pack);
  void drop_unmarked();

  HolderLink& holder_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<PackFile>> packs_;  // by token
  std::set<uint64_t> marked_;
  std::vector<uint64_t> unmarked_;  // still with the holder
};

}  // namespace hearth::mount
