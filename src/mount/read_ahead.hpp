// When to fetch ahead of a reader that goes through a pack in order, and how far. Pure: offsets in, a plan out.
#pragma once

#include <cstdint>
#include <optional>

namespace hearth::mount {

/// What to fetch for a reader: [begin, end) of the plain space, which may lie beyond the end of the pack. When the
/// reader comes to `begin`, ask again: by then what is behind it should be there, and the next window is due. So that a
/// reader who meets only present pages is noticed there, one page at `begin` is kept back.
struct ReadAheadPlan {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool operator==(const ReadAheadPlan&) const = default;
};

/// One reader. The first read that goes on where the one before it ended begins a window, each arrival at the end of a
/// window doubles it. At most two windows are ahead of the reader.
class ReadAheadWindow {
 public:
  static constexpr uint64_t kFirstBytes = uint64_t{1} << 20;
  /// How far from the expected offset a read still belongs to this reader: requests overtake each other, and small gaps
  /// (other files between) are read over.
  static constexpr uint64_t kSlackBytes = uint64_t{256} << 10;

  /// The reader wanted bytes up to `end` and everything up to there is on its way.
  ReadAheadWindow(uint64_t end, uint64_t longest_bytes) : ahead_(end), longest_(longest_bytes) {}
  /// The same reader in coordinates of the next pack: `by` is the size of the one it leaves, all of which is on its
  /// way.
  void move_on(uint64_t by);

  /// Whether a read at this offset is one of this reader.
  bool continues(uint64_t offset) const;
  /// A read of such an offset; everything up to `end` is on its way or there.
  std::optional<ReadAheadPlan> read(uint64_t offset, uint64_t end);

  uint64_t ahead() const { return ahead_; }
  uint64_t window() const { return window_; }

 private:
  uint64_t ahead_;       // up to here everything is there or on its way
  uint64_t marker_ = 0;  // begin of the newest window: the reader's arrival orders the next one
  uint64_t window_ = 0;  // bytes; 0: not sequential yet
  uint64_t longest_;
};

}  // namespace hearth::mount
