// SIMULATED starts without a profile: replays a recorded list of reads against a layer, over a simulated network, with
// and without the advice of Neighbours. build/bench/prefetch_sim STORE WORKSPACE LAYER READS [key=value …]; READS has a
// line "path TAB offset TAB length" for each read, in order. What it prints is a model's answer, not a measurement.
#include "base/file.hpp"
#include "blob/object_store.hpp"
#include "image/layer_reader.hpp"
#include "mount/content_owners.hpp"
#include "mount/neighbours.hpp"
#include "mount/prefetch_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using hearth::image::LayerIndex;
using hearth::image::LayerReader;
using hearth::mount::ContentOwners;
using hearth::mount::LayerChunks;
using hearth::mount::Neighbours;
using hearth::mount::PrefetchQueue;

/// What is simulated. Seconds and bytes a second.
struct Model {
  double round_trip = 0.020;
  double bandwidth = 1.25e9;
  double processor = 3.3;      // of the workload, spread evenly over its reads
  double unpack_rate = 400e6;  // plain bytes: decompress, hash, write
  double read_around = 256 * 1024;
  double connections = 32;
  double prefetch_connections = 16;
  double advice = 1;  // 0: none
  double begin = 0;   // seconds from the mount to the first read
  double tell = 0;    // 1: prints each wait
  double newest_first = 1;
  double gap = 0;           // stored bytes between wanted chunks that are fetched with them
  double waste = 24 << 20;  // NeighbourLimits
  double whole_library = 8 << 20;
  double largest_window = 8;
};

template <class T>
T must(hearth::Result<T> result) {
  if (!result) {
    fmt::print("{}\n", result.error().message);
    std::exit(1);
  }
  return std::move(*result);
}

/// Chunks in the order of the reads; a read over several chunks is several.
std::vector<uint32_t> load_reads(const std::string& path, const LayerIndex& index) {
  std::vector<uint32_t> chunks;
  const std::string text = must(hearth::read_file(path));
  std::unordered_map<std::string, std::optional<hearth::image::InodeView>> files;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    uint64_t offset = 0;
    uint64_t length = 0;
    std::from_chars(line.data() + first + 1, line.data() + second, offset);
    std::from_chars(line.data() + second + 1, line.data() + line.size(), length);
    const std::string name(line.substr(1, first - 1));
    if (!files.contains(name)) files[name] = index.lookup(name);
    const auto& file = files[name];
    if (!file) continue;
    for (uint32_t i = 0; i < file->count; ++i) {
      const auto extent = index.extent(*file, i);
      if (extent.offset < offset + length && offset < extent.offset + extent.length) chunks.push_back(extent.chunk);
    }
  }
  return chunks;
}

class Simulation {
 public:
  Simulation(const Model& model, const LayerReader& reader, std::shared_ptr<const ContentOwners> owners)
      : model_(model),
        reader_(reader),
        owners_(owners),
        index_(owners->index()),
        neighbours_(owners, limits_of(model)),
        queue_(owners->shared_chunks(), {.gap_bytes = static_cast<uint64_t>(model.gap)}) {
    state_.assign(index_.chunk_count(), State::absent);
    advised_.assign(index_.chunk_count(), false);
    for (uint32_t pack = 0; pack < index_.pack_count(); ++pack) {
      const auto chunks = owners_->chunks().in_pack(pack);
      for (size_t i = 0; i + 1 < chunks.size(); ++i) next_[chunks[i]] = chunks[i + 1];
    }
  }

  void run(const std::vector<uint32_t>& reads) {
    if (model_.advice > 0) follow(neighbours_.begin());
    now_ = 0;
    dispatch();
    double time = model_.begin;
    std::set<uint32_t> seen;
    for (const uint32_t chunk : reads) {
      time += model_.processor / static_cast<double>(reads.size());
      advance_to(time);
      if (!seen.insert(chunk).second) continue;
      touched_bytes_ += index_.location(chunk).stored_length;
      if (model_.advice > 0) follow(neighbours_.touched(chunk));
      if (state_[chunk] != State::present) {
        ++waits_;
        const double asked = time;
        const State before = state_[chunk];
        demand(chunk);
        while (state_[chunk] != State::present) step();
        time = now_;
        waited_ += time - asked;
        if (model_.tell > 0) tell(chunk, asked, before);
      }
      dispatch();
    }
    const auto counts = neighbours_.counts();
    fmt::print(
        "simulated {:5.2f} s ({:.2f} s waiting, {} waits), {:.1f} MB in {} requests for {:.1f} MB touched; advice "
        "{:.1f} MB, of it used {:.1f} MB, held back {}\n",
        time, waited_, waits_, static_cast<double>(fetched_) / 1e6, requests_,
        static_cast<double>(touched_bytes_) / 1e6, static_cast<double>(counts.advised_bytes) / 1e6,
        static_cast<double>(counts.used_bytes) / 1e6, counts.held_back);
  }

 private:
  static hearth::mount::NeighbourLimits limits_of(const Model& model) {
    return {.waste_bytes = static_cast<uint64_t>(model.waste),
            .whole_library_bytes = static_cast<uint64_t>(model.whole_library),
            .largest_window = static_cast<uint32_t>(model.largest_window)};
  }

  enum class State : uint8_t { absent, flying, present };
  struct Arrival {
    double at = 0;
    std::vector<uint32_t> fetched;
    std::optional<PrefetchQueue::Run> advised;
    bool operator>(const Arrival& other) const { return at > other.at; }
  };

  void tell(uint32_t chunk, double asked, State before) const {
    const auto owner = owners_->owner(chunk);
    const auto offset = index_.extent(index_.inode(owner->inode), owner->extent).offset;
    fmt::print("{:7.3f} s {:4.0f} ms {:8} {} at {} MiB\n", asked, (now_ - asked) * 1e3,
               before == State::flying ? "coming"
               : advised_.at(chunk)    ? "queued"
                                       : "unknown",
               owners_->path(owner->inode), offset >> 20);
  }

  void tell_unused(const std::set<uint32_t>& used) const {
    std::map<std::string, uint64_t> bytes;
    for (uint32_t chunk = 0; chunk < index_.chunk_count(); ++chunk) {
      if (state_[chunk] == State::absent || used.contains(chunk)) continue;
      if (const auto owner = owners_->owner(chunk))
        bytes[owners_->path(owner->inode)] += index_.location(chunk).stored_length;
    }
    for (const auto& [path, size] : bytes) fmt::print("unused {:9} {}\n", size, path);
  }

  void follow(const Neighbours::Advice& advice) {
    for (const uint32_t chunk : advice.chunks) advised_[chunk] = true;
    queue_.add(advice, [this](uint32_t chunk) { return state_[chunk] == State::present; });
    show_ready();
  }

  void show_ready() {
    for (const auto& look : queue_.ready()) follow(neighbours_.shown(look, bytes_of(look)));
  }

  std::string bytes_of(const Neighbours::Look& look) const {
    std::string bytes(look.range.length, '\0');
    const auto file = index_.inode(look.inode);
    for (uint32_t i = 0; i < file.count; ++i) {
      const auto extent = index_.extent(file, i);
      const uint64_t begin = std::max(extent.offset, look.range.offset);
      const uint64_t end = std::min(extent.offset + extent.length, look.range.end());
      if (begin >= end) continue;
      const std::string plain = must(reader_.read_chunk(extent.chunk));
      plain.copy(bytes.data() + (begin - look.range.offset), end - begin, begin - extent.offset);
    }
    return bytes;
  }

  void demand(uint32_t chunk) {
    if (state_[chunk] == State::flying) return;
    std::vector<uint32_t> run = {chunk};
    const auto begin = index_.location(chunk).offset;
    state_[chunk] = State::flying;
    for (auto at = next_.find(chunk); at != next_.end(); at = next_.find(run.back())) {
      const auto place = index_.location(at->second);
      if (static_cast<double>(place.offset + place.stored_length - begin) > model_.read_around) break;
      if (state_[at->second] != State::absent) break;
      state_[at->second] = State::flying;
      run.push_back(at->second);
    }
    issue(run, std::nullopt);
  }

  /// Fetches these chunks; what of them is coming already is waited for.
  void issue(const std::vector<uint32_t>& fetch, std::optional<PrefetchQueue::Run> advised) {
    double stored = 0;
    double plain = 0;
    for (const uint32_t chunk : fetch) {
      state_[chunk] = State::flying;
      stored += index_.location(chunk).stored_length;
      plain += index_.chunk(chunk).length;
    }
    double at = now_;
    if (!fetch.empty()) {
      ++requests_;
      fetched_ += static_cast<uint64_t>(stored);
      const double received = std::max(now_ + model_.round_trip, pipe_free_) + stored / model_.bandwidth;
      pipe_free_ = received;
      at = (advised ? std::max(received, unpack_free_) : received) + plain / model_.unpack_rate;
      unpack_free_ = std::max(unpack_free_, at);
      for (const uint32_t chunk : fetch) arrive_[chunk] = at;
    }
    if (advised) {
      for (const uint32_t chunk : advised->chunks) {
        if (state_[chunk] == State::flying) at = std::max(at, arrive_[chunk]);
      }
      ++flying_prefetch_;
    }
    ++flying_;
    arrivals_.push({at, fetch, std::move(advised)});
  }

  void dispatch() {
    while (flying_ < model_.connections && flying_prefetch_ < model_.prefetch_connections) {
      auto run = queue_.next();
      if (!run) return;
      std::vector<uint32_t> fetch;
      for (const uint32_t chunk : run->chunks) {
        if (state_[chunk] == State::absent) fetch.push_back(chunk);
      }
      issue(fetch, std::move(run));
    }
  }

  void step() {
    CHECK_PROMISE(!arrivals_.empty());
    const Arrival arrival = arrivals_.top();
    arrivals_.pop();
    now_ = std::max(now_, arrival.at);
    --flying_;
    for (const uint32_t chunk : arrival.fetched) state_[chunk] = State::present;
    if (arrival.advised) {
      --flying_prefetch_;
      queue_.landed(*arrival.advised, PrefetchQueue::Landed::present);
      show_ready();
    }
    dispatch();
  }

  void advance_to(double time) {
    while (!arrivals_.empty() && arrivals_.top().at <= time) step();
    now_ = std::max(now_, time);
  }

  const Model model_;
  const LayerReader& reader_;
  std::shared_ptr<const ContentOwners> owners_;
  const LayerIndex& index_;
  Neighbours neighbours_;
  std::unordered_map<uint32_t, uint32_t> next_;  // chunk that follows in the pack
  std::vector<State> state_;
  std::vector<bool> advised_;  // by chunk
  std::unordered_map<uint32_t, double> arrive_;
  PrefetchQueue queue_;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
  double now_ = 0;
  double pipe_free_ = 0;
  double unpack_free_ = 0;
  double waited_ = 0;
  uint64_t waits_ = 0;
  uint64_t fetched_ = 0;
  uint64_t touched_bytes_ = 0;
  uint64_t requests_ = 0;
  int flying_ = 0;
  int flying_prefetch_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print("prefetch_sim STORE WORKSPACE LAYER READS [key=value …]\n");
    return 2;
  }
  Model model;
  const std::map<std::string, double*, std::less<>> settings = {{"round_trip", &model.round_trip},
                                                                {"bandwidth", &model.bandwidth},
                                                                {"processor", &model.processor},
                                                                {"unpack_rate", &model.unpack_rate},
                                                                {"read_around", &model.read_around},
                                                                {"advice", &model.advice},
                                                                {"begin", &model.begin},
                                                                {"tell", &model.tell},
                                                                {"gap", &model.gap},
                                                                {"connections", &model.connections},
                                                                {"prefetch_connections", &model.prefetch_connections},
                                                                {"waste", &model.waste},
                                                                {"whole_library", &model.whole_library},
                                                                {"largest_window", &model.largest_window}};
  for (int i = 5; i < argc; ++i) {
    const std::string_view setting = argv[i];
    const size_t equals = setting.find('=');
    const auto found = settings.find(setting.substr(0, equals));
    if (equals == std::string_view::npos || found == settings.end()) {
      fmt::print("unknown setting {}\n", setting);
      return 2;
    }
    *found->second = std::strtod(argv[i] + equals + 1, nullptr);
  }
  const auto store = must(hearth::blob::open_store(argv[1]));
  const auto reader = must(LayerReader::open(store, argv[2], must(hearth::Digest::parse(argv[3]))));
  const auto chunks = std::make_shared<const LayerChunks>(reader.shared_index(), argv[2]);
  const auto owners = std::make_shared<const ContentOwners>(must(ContentOwners::of(chunks)));
  const auto reads = load_reads(argv[4], owners->index());
  Simulation(model, reader, owners).run(reads);
  return 0;
}
