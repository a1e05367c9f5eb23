// Decides, chunk by chunk, which packs of other layers a new layer refers to. Pure: given the chunks in their order,
// the answer is always the same.
#pragma once

#include "base/digest.hpp"
#include "image/chunk_catalogue.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace hearth::image {

struct ReuseLimits {
  uint32_t packs = 200;         // of other layers that one layer refers to: a mount has a file for each
  uint64_t worth = 256 * 1024;  // stored bytes that a pack must save; half of it is enough of a smaller pack
};

/// Not thread-safe.
class PackReuse {
 public:
  explicit PackReuse(std::shared_ptr<const KnownChunks> known, ReuseLimits limits = {})
      : known_(std::move(known)), limits_(limits) {}

  const KnownChunks& known() const { return *known_; }

  /// Whether the next such chunk will certainly be taken from a pack, so that it need not be compressed.
  std::optional<KnownPlace> find_open(const Digest& digest, uint32_t length) const;

  enum class Verdict {
    store,  // it must be stored
    wait,   // later chunks decide whether its pack pays; keep its bytes until then
    take,   // it lies at `place`; `waited` ones now too
  };
  struct Answer {
    Verdict verdict = Verdict::store;
    KnownPlace place;
    std::vector<uint32_t> waited;  // numbers of the chunks that waited for this pack
  };
  /// Of the next chunk that is new to the layer.
  Answer ask(uint32_t number, const Digest& digest, uint32_t length);

  /// All that still wait must be stored, in this order.
  std::vector<uint32_t> give_up();

 private:
  struct Pack {
    bool open = false;
    uint64_t wanted = 0;  // stored bytes
    std::vector<uint32_t> waiting;
  };
  bool pays(uint32_t pack, uint64_t wanted) const;

  std::shared_ptr<const KnownChunks> known_;
  ReuseLimits limits_;
  std::unordered_map<uint32_t, Pack> packs_;
  uint32_t open_ = 0;
};

}  // namespace hearth::image
