#include "mount/starts.hpp"

#include "base/log.hpp"
#include "mount/content_owners.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

namespace {

constexpr size_t kStartsKept = 64;            // for traces
constexpr size_t kTraceBytesMax = 96 * 1024;  // in one message of the imagefs protocol

std::string bundle_json(const BundleStream* bundle) {
  if (bundle == nullptr) return "null";
  const auto status = bundle->status();
  return R"({"outcome":")" + std::string(to_string(status.outcome)) + R"(","received_bytes":)" +
         std::to_string(status.received_bytes) + R"(,"stored_bytes":)" + std::to_string(status.stored_bytes) + "}";
}

}  // namespace

Starts::Starts(StartsOptions options)
    : options_(std::move(options)),
      writer_({.store = options_.store,
               .fetcher = options_.fetcher,
               .directory = options_.directory,
               .metrics = options_.metrics}) {}

std::unique_ptr<BundleStream> Starts::look(const LayerQuestion& question, bool known) const {
  if (question.profile.empty()) return nullptr;
  return std::make_unique<BundleStream>(BundleStreamRequest{.store = options_.store,
                                                            .stream = stream_of(options_.store),
                                                            .workspace = question.workspace,
                                                            .layer = question.digest,
                                                            .profile = question.profile,
                                                            .known_layer = known,
                                                            .expected = options_.expected,
                                                            .metrics = options_.metrics});
}

bool Starts::begin(const LayerQuestion& question, std::shared_ptr<CachedLayer> layer,
                   std::unique_ptr<BundleStream> bundle, MountedFor mounted_for) {
  if (question.profile.empty()) return false;
  auto start = std::make_shared<Start>();
  start->profile = question.profile;
  start->layer = std::move(layer);
  start->began = mono_now();
  start->trace = std::make_unique<StartTrace>(start->began, wall_now());
  const auto& index = start->layer->index();
  for (uint32_t number = 0; number < index.pack_count(); ++number) start->packs.insert(index.pack(number).digest);
  const bool recorded = mounted_for == MountedFor::this_start;
  if (bundle != nullptr) bundle->attach(start->layer);
  start->bundle = std::move(bundle);
  if (recorded) {
    start->recorder = std::make_shared<Recorder>(start->layer->chunks());
    start->prefetch = std::make_shared<StartPrefetch>(
        StartPrefetchOptions{.layer = start->layer, .fetcher = options_.fetcher, .bundle = start->bundle.get()});
  }
  std::shared_ptr<Start> before;
  {
    const std::lock_guard lock(mutex_);
    auto& slot = starts_[{question.digest.hex(), question.profile}];
    before = std::exchange(slot, std::move(start));
    forget_old();
  }
  if (before) end(*before, false);
  return recorded;
}

/// `mutex_` is held. A start that is under way stays.
void Starts::forget_old() {
  while (starts_.size() > kStartsKept) {
    auto oldest = starts_.end();
    for (auto at = starts_.begin(); at != starts_.end(); ++at) {
      if (!at->second->is_over) continue;
      if (oldest == starts_.end() || at->second->began < oldest->second->began) oldest = at;
    }
    if (oldest == starts_.end()) return;
    starts_.erase(oldest);
  }
}

std::vector<Starts::Active> Starts::active() const {
  std::vector<Active> found;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, start] : starts_) {
    if (!start->is_over) found.push_back({start, start->recorder, start->prefetch});
  }
  return found;
}

std::vector<Starts::Active> Starts::readers_of(const Digest& pack) const {
  auto readers = active();
  std::erase_if(readers, [&pack](const Active& reader) { return !reader.start->packs.contains(pack); });
  return readers;
}

void Starts::hit(const Digest& pack, const PageRange& range) {
  for (const auto& [start, recorder, prefetch] : readers_of(pack)) {
    if (prefetch) prefetch->touched(pack, range, StartPrefetch::Waited::no);
    if (recorder) recorder->asked(pack, range);
    start->trace->hit(range.length);
  }
}

void Starts::asked(const Digest& pack, const PageRange& range) {
  for (const auto& [start, recorder, prefetch] : readers_of(pack)) {
    if (prefetch) prefetch->touched(pack, range, StartPrefetch::Waited::yes);
    if (recorder) recorder->asked(pack, range);
  }
}

void Starts::waited(const Digest& pack, const PageRange& range, MonoTime asked, MonoTime answered) {
  using Expected = StartTrace::Expected;
  for (const auto& [start, recorder, prefetch] : readers_of(pack)) {
    if (recorder) recorder->waited(answered - asked);
    const bool streaming = start->bundle && start->bundle->status().outcome == BundleStream::Outcome::streaming;
    start->trace->waited(pack, range, asked, answered, streaming ? Expected::yes : Expected::no);
  }
}

void Starts::fetched(const FetchEvent& event) {
  for (const auto& [start, recorder, prefetch] : readers_of(event.pack)) start->trace->fetched(event, mono_now());
}

/// Once: the first to end it takes the recorder away.
void Starts::end(Start& start, bool learn) {
  std::shared_ptr<Recorder> recorder;
  std::shared_ptr<StartPrefetch> prefetch;
  {
    const std::lock_guard lock(mutex_);
    start.is_over = true;
    recorder = std::move(start.recorder);
    prefetch = std::move(start.prefetch);
  }
  if (recorder == nullptr) return;
  const auto ahead = prefetch->counts();
  log_info("a start is over", {{"layer", start.layer->index().digest().hex().substr(0, 12)},
                               {"profile", start.profile},
                               {"advised_bytes", ahead.advice.advised_bytes},
                               {"advised_and_read_bytes", ahead.advice.used_bytes}});
  prefetch.reset();
  if (on_recorded_) on_recorded_(*start.layer);
  if (!learn) return;
  std::shared_ptr<const image::PageRuns> runs;
  if (start.bundle) runs = start.bundle->status().runs;
  writer_.add({.layer = start.layer,
               .profile = start.profile,
               .recording = recorder->recording(),
               .bundle = std::move(runs),
               .at = wall_now()});
}

void Starts::recorded(const LayerQuestion& question) {
  std::shared_ptr<Start> start;
  {
    const std::lock_guard lock(mutex_);
    const auto found = starts_.find({question.digest.hex(), question.profile});
    if (found != starts_.end()) start = found->second;
  }
  if (start) end(*start, true);
}

void Starts::end_overdue(MonoTime now) {
  for (const auto& [start, recorder, prefetch] : active()) {
    if (now - start->began > kRecordFor) end(*start, true);
  }
}

Result<std::string> Starts::trace(const LayerQuestion& question) const {
  std::shared_ptr<Start> start;
  {
    const std::lock_guard lock(mutex_);
    const auto found = starts_.find({question.digest.hex(), question.profile});
    if (found != starts_.end()) start = found->second;
  }
  if (!start) {
    return fail(ErrorCode::not_found,
                "no start with profile " + question.profile + " of this layer is remembered here");
  }
  TRY(const auto owners, ContentOwners::of(start->layer->chunks()));
  return to_json(start->trace->snapshot(), owners, bundle_json(start->bundle.get()), kTraceBytesMax);
}

}  // namespace hearth::mount
