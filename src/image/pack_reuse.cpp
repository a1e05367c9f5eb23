#include "image/pack_reuse.hpp"

#include <algorithm>
#include <utility>

namespace hearth::image {

std::optional<KnownPlace> PackReuse::find_open(const Digest& digest, uint32_t length) const {
  const auto place = known_->find(digest, length);
  if (!place) return std::nullopt;
  const auto pack = packs_.find(place->pack);
  if (pack == packs_.end() || !pack->second.open) return std::nullopt;
  return place;
}

bool PackReuse::pays(uint32_t pack, uint64_t wanted) const {
  return wanted >= std::min(limits_.worth, known_->pack(pack).size / 2);
}

PackReuse::Answer PackReuse::ask(uint32_t number, const Digest& digest, uint32_t length) {
  const auto place = known_->find(digest, length);
  if (!place) return {};
  Pack& pack = packs_[place->pack];
  if (pack.open) return {.verdict = Verdict::take, .place = *place};
  if (open_ == limits_.packs) return {};
  pack.wanted += place->stored_length;
  if (!pays(place->pack, pack.wanted)) {
    pack.waiting.push_back(number);
    return {.verdict = Verdict::wait, .place = *place};
  }
  pack.open = true;
  ++open_;
  return {.verdict = Verdict::take, .place = *place, .waited = std::exchange(pack.waiting, {})};
}

std::vector<uint32_t> PackReuse::give_up() {
  std::vector<uint32_t> left;
  for (auto& [number, pack] : packs_) {
    left.insert(left.end(), pack.waiting.begin(), pack.waiting.end());
    pack.waiting.clear();
    pack.wanted = 0;
  }
  std::ranges::sort(left);
  return left;
}

}  // namespace hearth::image
