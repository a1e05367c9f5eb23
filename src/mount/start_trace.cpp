#include "mount/start_trace.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <unordered_map>

namespace hearth::mount {

namespace {

using Json = nlohmann::json;

/// Characters of one read beside its path, generously.
constexpr size_t kReadBytes = 160;
/// Of everything else: sums of some tiers, the bundle.
constexpr size_t kFrameBytes = 4096;

uint64_t in_us(Duration duration) {
  return static_cast<uint64_t>(std::max<int64_t>(std::chrono::duration_cast<microseconds>(duration).count(), 0));
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);  // paths may be of any bytes
}

/// Finds files by places in packs.
class FileFinder {
 public:
  explicit FileFinder(const ContentOwners& owners) : owners_(owners) {
    const auto& index = owners.index();
    for (uint32_t number = 0; number < index.pack_count(); ++number) packs_.emplace(index.pack(number).digest, number);
  }

  Json describe(const TracedRead& read) const {
    Json json = {{"at_us", in_us(read.at)},
                 {"wait_us", in_us(read.wait)},
                 {"length", read.range.length},
                 {"tier", read.tier},
                 {"path", nullptr},
                 {"offset", 0}};
    const auto number = packs_.find(read.pack);
    if (number == packs_.end()) return json;
    const auto chunk = chunk_at(owners_.chunks(), number->second, read.range.offset);
    const auto owner = chunk ? owners_.owner(*chunk) : std::nullopt;
    if (!owner) return json;
    const auto& index = owners_.index();
    const auto extent = index.extent(index.inode(owner->inode), owner->extent);
    json["path"] = owners_.path(owner->inode);
    json["offset"] = extent.offset + (read.range.offset - index.location(*chunk).plain_offset);
    return json;
  }

 private:
  const ContentOwners& owners_;
  std::unordered_map<Digest, uint32_t> packs_;
};

Json totals(const StartTrace::Snapshot& trace) {
  Json tiers = Json::object();
  for (const auto& [name, sum] : trace.tiers) {
    tiers[name] = {{"fetches", sum.fetches},
                   {"demand_bytes", sum.demand_bytes},
                   {"prefetch_bytes", sum.prefetch_bytes},
                   {"waits", sum.waits},
                   {"waited_us", in_us(sum.waited)}};
  }
  return tiers;
}

}  // namespace

void StartTrace::fetched(const FetchEvent& event, MonoTime now) {
  const std::lock_guard lock(mutex_);
  TierTotals& sum = sums_.tiers[std::string(event.tier)];
  ++sum.fetches;
  (event.urgency == Urgency::demand ? sum.demand_bytes : sum.prefetch_bytes) += event.bytes;
  recent_.push_back({event.pack, event.plain, event.tier, now, event.urgency});
  if (recent_.size() > kRecentFetches) recent_.pop_front();
}

/// The newest fetch of any of these pages since they were asked for.
std::string_view StartTrace::tier_of(const Digest& pack, const PageRange& range, MonoTime asked) const {
  for (auto fetch = recent_.rbegin(); fetch != recent_.rend(); ++fetch) {
    if (fetch->at < asked) break;
    if (fetch->pack == pack && overlap(fetch->plain, range).length > 0) return fetch->tier;
  }
  return "";
}

void StartTrace::waited(const Digest& pack, const PageRange& range, MonoTime asked, MonoTime answered,
                        Expected expected) {
  const std::lock_guard lock(mutex_);
  std::string tier(tier_of(pack, range, asked));
  if (tier.empty()) tier = expected == Expected::yes ? "bundle" : "ahead";
  TierTotals& sum = sums_.tiers[tier];
  ++sum.waits;
  sum.waited += answered - asked;
  if (sums_.reads.size() == kReads) {
    ++sums_.left_out;
    return;
  }
  sums_.reads.push_back(
      {.at = asked - mounted_, .wait = answered - asked, .pack = pack, .range = range, .tier = std::move(tier)});
}

void StartTrace::hit(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++sums_.hits;
  sums_.hit_bytes += bytes;
}

StartTrace::Snapshot StartTrace::snapshot() const {
  const std::lock_guard lock(mutex_);
  return sums_;
}

std::string to_json(const StartTrace::Snapshot& trace, const ContentOwners& owners, std::string_view bundle,
                    size_t max_bytes) {
  std::vector<size_t> order(trace.reads.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&trace](size_t a, size_t b) { return trace.reads[a].wait > trace.reads[b].wait; });
  const FileFinder files(owners);
  size_t size = kFrameBytes + bundle.size();
  std::vector<std::pair<size_t, Json>> told;
  for (const size_t number : order) {
    Json read = files.describe(trace.reads[number]);
    size += kReadBytes + dump(read["path"]).size();
    if (size > max_bytes) break;
    told.emplace_back(number, std::move(read));
  }
  std::ranges::sort(told, [&trace](const auto& a, const auto& b) {
    return std::pair(trace.reads[a.first].at, a.first) < std::pair(trace.reads[b.first].at, b.first);
  });
  Json json = {{"format", 1},
               {"mounted", to_iso8601(trace.mounted)},
               {"hits", trace.hits},
               {"hit_bytes", trace.hit_bytes},
               {"tiers", totals(trace)},
               {"bundle", Json::parse(bundle, nullptr, false)},
               {"reads", Json::array()},
               {"left_out", trace.left_out + (trace.reads.size() - told.size())}};
  for (auto& [number, read] : told) json["reads"].push_back(std::move(read));
  return dump(json);
}

}  // namespace hearth::mount
