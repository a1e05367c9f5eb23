// The sequential readers of all packs, and what to fetch ahead of them.
#pragma once

#include "base/clock.hpp"
#include "mount/pack_file.hpp"
#include "mount/page_range.hpp"
#include "mount/read_ahead.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// Not thread-safe. Keeps a pack open for as long as somebody was seen to read it in order, and kIdle longer.
class ReaderStreams {
 public:
  static constexpr size_t kReadersAPack = 8;  // more: the one that was quiet longest is forgotten
  static constexpr Duration kIdle = seconds(5);

  /// `longest_bytes`: of a window; 0: nothing is fetched ahead.
  explicit ReaderStreams(uint64_t longest_bytes) : longest_(longest_bytes) {}

  struct Order {
    std::shared_ptr<PackFile> pack;
    PageRange range;
    bool mark = false;  // the first page is to be kept back (ReadAheadPlan)
  };
  /// A reader wants `range` of a pack, and everything up to `covered_end` is fetched with it.
  std::vector<Order> read(const std::shared_ptr<PackFile>& pack, const PageRange& range, uint64_t covered_end,
                          MonoTime now);

  /// Pages that were kept back for readers who have not come for a while: to be filled now.
  std::vector<Order> forget_idle(MonoTime now);
  /// All of them.
  void clear() { packs_.clear(); }

 private:
  struct Reader {
    ReadAheadWindow window;
    MonoTime last;
    std::optional<uint64_t> mark;  // offset of the page kept back, in this pack
  };
  struct Pack {
    std::shared_ptr<PackFile> file;
    std::list<Reader> readers;
  };

  std::vector<Order> orders(const std::shared_ptr<PackFile>& pack, std::list<Reader>::iterator reader,
                            const ReadAheadPlan& plan);
  Pack& of(const std::shared_ptr<PackFile>& pack);

  uint64_t longest_;
  std::unordered_map<const PackFile*, Pack> packs_;
};

}  // namespace hearth::mount
