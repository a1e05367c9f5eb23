#include "mount/bundle_stream.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hearth::mount {

namespace {

using image::BundleDecoder;
using image::BundleHead;
using image::BundlePiece;
using image::PageRun;
using image::StoreScope;

/// Where pages of a chunk lie: bytes of its pack's plain space.
struct Place {
  const std::shared_ptr<PackFile>& pack;
  uint64_t offset = 0;
  uint64_t length = 0;  // without the padding of the chunk's last page
};

Place place_of(const CachedLayer& layer, uint32_t chunk, uint32_t first_page, uint64_t bytes) {
  const auto at = layer.index().location(chunk);
  const uint64_t begin = uint64_t{first_page} * kPageBytes;
  return {layer.pack(at.pack), at.plain_offset + begin, std::min(bytes, layer.index().chunk(chunk).length - begin)};
}

ExpectedRuns expected_runs(const CachedLayer& layer, const BundleHead& head) {
  std::unordered_map<Digest, std::vector<ExpectedRun>> packs;
  uint64_t position = 0;
  for (const PageRun& run : head.runs) {
    position += bytes_of(run);
    const auto at = layer.index().location(run.chunk);
    packs[layer.index().pack(at.pack).digest].push_back(
        {at.plain_offset + uint64_t{run.first} * kPageBytes, bytes_of(run), position});
  }
  return ExpectedRuns(std::move(packs));
}

uint64_t missing_bytes(const CachedLayer& layer, const BundleHead& head) {
  uint64_t missing = 0;
  for (const PageRun& run : head.runs) {
    const Place place = place_of(layer, run.chunk, run.first, bytes_of(run));
    for (const PageRange& range : place.pack->missing(place.offset, place.length)) missing += range.length;
  }
  return missing;
}

}  // namespace

std::string_view to_string(BundleStream::Outcome outcome) {
  switch (outcome) {
    case BundleStream::Outcome::streaming:
      return "streaming";
    case BundleStream::Outcome::no_profile:
      return "no_profile";
    case BundleStream::Outcome::not_needed:
      return "not_needed";
    case BundleStream::Outcome::complete:
      return "complete";
    case BundleStream::Outcome::given_up:
      return "given_up";
    case BundleStream::Outcome::failed:
      return "failed";
  }
  return "failed";
}

ObjectStream stream_of(std::shared_ptr<blob::ObjectStore> store) {
  return [store = std::move(store)](const std::string& key, const blob::ByteRange& range,
                                    const std::function<Result<>(std::string_view)>& sink,
                                    const std::stop_token& stop) -> Result<> {
    return store->read(key, range, sink, {.deadline = {}, .stop = stop});
  };
}

/// The receiver looks up the profile and fills the queue; the storer empties it into the cache.
struct BundleStream::State {
  explicit State(BundleStreamRequest r) : request(std::move(r)) {}

  void receive(const std::stop_token& stop);
  Result<> receive_bundle(const std::stop_token& stop);
  Result<std::optional<image::BundleRef>> find_bundle();
  Result<> enqueue(std::string_view bytes, const std::stop_token& stop);
  void store(const std::stop_token& stop);
  Result<Outcome> store_what_comes(const std::stop_token& stop);
  Result<Outcome> store_bundle(const image::BundleRef& bundle, const std::stop_token& stop);
  Result<std::optional<std::string>> dequeue(const std::stop_token& stop);
  Result<> take_head(const BundleHead& head);
  Result<> take_piece(const BundlePiece& piece);
  void end(Outcome outcome, const std::string& error);

  const BundleStreamRequest request;
  mutable std::mutex mutex;
  mutable std::condition_variable_any changed;
  std::shared_ptr<CachedLayer> layer;
  std::deque<std::string> queue;
  uint64_t queued_bytes = 0;
  bool is_starving = false;       // the storer has taken all that came, and waits for more
  std::optional<bool> is_needed;  // what the head told of the rest; set once, by the storer
  bool received = false;          // everything is in the queue, or receive_error says why not
  Result<> receive_error;
  bool looked_up = false;
  std::optional<image::BundleRef> bundle;
  Status status;

  // Of the storer alone.
  std::unique_ptr<ExpectedPages::Promise> promise;

  std::jthread receiver;
  std::jthread storer;
};

BundleStream::BundleStream(BundleStreamRequest request) : state_(std::make_unique<State>(std::move(request))) {
  state_->receiver = std::jthread([this](const std::stop_token& stop) { state_->receive(stop); });
  state_->storer = std::jthread([this](const std::stop_token& stop) { state_->store(stop); });
}

BundleStream::~BundleStream() {
  state_->receiver.request_stop();
  state_->storer.request_stop();
}

void BundleStream::attach(std::shared_ptr<CachedLayer> layer) {
  const std::lock_guard lock(state_->mutex);
  CHECK_PROMISE(!state_->layer && layer && layer->index().digest() == state_->request.layer);
  state_->layer = std::move(layer);
  state_->changed.notify_all();
}

BundleStream::Status BundleStream::status() const {
  const std::lock_guard lock(state_->mutex);
  return state_->status;
}

BundleStream::Status BundleStream::wait(Deadline deadline) const {
  std::unique_lock lock(state_->mutex);
  const auto known = [this] { return state_->status.outcome != Outcome::streaming; };
  if (const auto at = deadline.at()) {
    state_->changed.wait_until(lock, *at, known);
  } else {
    state_->changed.wait(lock, known);
  }
  return state_->status;
}

// ---- Receiving ---------------------------------------------------------------------------------------------

Result<std::optional<image::BundleRef>> BundleStream::State::find_bundle() {
  const StoreScope scope = StoreScope::workspace(request.workspace);
  TRY(const auto profile, image::find_profile(*request.store, scope, request.layer, request.profile));
  if (!profile) return std::nullopt;
  const std::lock_guard lock(mutex);
  status.profile = profile;
  return profile->bundle;
}

void BundleStream::State::receive(const std::stop_token& stop) {
  auto found = find_bundle();
  {
    const std::lock_guard lock(mutex);
    looked_up = true;
    if (!found) receive_error = Unexpected(found.error());
    if (found && *found) bundle = **found;
    changed.notify_all();
    if (!bundle) return;
  }
  auto done = receive_bundle(stop);
  const std::lock_guard lock(mutex);
  received = true;
  if (!done) receive_error = std::move(done);
  changed.notify_all();
}

Result<> BundleStream::State::receive_bundle(const std::stop_token& stop) {
  const std::string key = image::bundle_object_key(StoreScope::workspace(request.workspace), bundle->digest);
  const auto sink = [this, &stop](std::string_view bytes) { return enqueue(bytes, stop); };
  uint64_t begun = 0;
  if (request.known_layer) {
    begun = std::min(kFirstBytes, bundle->streamed_bytes);
    TRY_VOID(request.stream(key, {.offset = 0, .length = begun}, sink, stop));
    std::unique_lock lock(mutex);
    changed.wait(lock, stop,
                 [this] { return is_needed.has_value() || is_starving || status.outcome != Outcome::streaming; });
    if (!is_needed.value_or(true) || status.outcome != Outcome::streaming) return {};
  }
  if (begun == bundle->streamed_bytes) return {};
  return request.stream(key, {.offset = begun, .length = bundle->streamed_bytes - begun}, sink, stop);
}

Result<> BundleStream::State::enqueue(std::string_view bytes, const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [this] { return queued_bytes < kQueuedBytes || status.outcome != Outcome::streaming; });
  if (stop.stop_requested() || status.outcome != Outcome::streaming) {
    return fail(ErrorCode::cancelled, "no longer wanted");
  }
  queue.emplace_back(bytes);
  queued_bytes += bytes.size();
  is_starving = false;
  status.received_bytes += bytes.size();
  changed.notify_all();
  return {};
}

// ---- Storing -----------------------------------------------------------------------------------------------

void BundleStream::State::store(const std::stop_token& stop) {
  const auto outcome = store_what_comes(stop);
  promise.reset();
  if (outcome) return end(*outcome, "");
  if (outcome.error().code == ErrorCode::cancelled) return end(Outcome::given_up, "");
  end(Outcome::failed, outcome.error().message);
}

Result<BundleStream::Outcome> BundleStream::State::store_what_comes(const std::stop_token& stop) {
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, stop, [this] { return looked_up && (layer != nullptr || !bundle); });
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
    if (!bundle && !receive_error) return Unexpected(receive_error.error());
    if (!bundle) return Outcome::no_profile;
  }
  return store_bundle(*bundle, stop);
}

Result<std::optional<std::string>> BundleStream::State::dequeue(const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  is_starving = queue.empty();
  if (is_starving) changed.notify_all();
  changed.wait(lock, stop, [this] { return !queue.empty() || received; });
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
  if (queue.empty()) {
    if (!receive_error) return Unexpected(receive_error.error());
    return std::nullopt;
  }
  std::string bytes = std::move(queue.front());
  queue.pop_front();
  queued_bytes -= bytes.size();
  changed.notify_all();
  return bytes;
}

Result<BundleStream::Outcome> BundleStream::State::store_bundle(const image::BundleRef& wanted,
                                                                const std::stop_token& stop) {
  BundleDecoder decoder(wanted.digest);
  bool head_taken = false;
  const auto sink = [this, &decoder, &head_taken](const BundlePiece& piece) -> Result<> {
    if (!std::exchange(head_taken, true)) TRY_VOID(take_head(*decoder.head()));
    if (!*is_needed) return fail(ErrorCode::cancelled, "nearly all of it is on disk");
    return take_piece(piece);
  };
  for (;;) {
    TRY(const auto bytes, dequeue(stop));
    if (!bytes) break;
    auto fed = decoder.feed(*bytes, sink);
    if (!is_needed.value_or(true)) return Outcome::not_needed;
    TRY_VOID(fed);
    if (promise) promise->arrived(decoder.plain_bytes_given());
  }
  TRY_VOID(decoder.finish());
  return Outcome::complete;
}

Result<> BundleStream::State::take_head(const BundleHead& head) {
  if (head.layer != request.layer || !image::fits(head.runs, layer->index())) {
    return fail(ErrorCode::corrupt, "the bundle is one of another layer");
  }
  const uint64_t missing = missing_bytes(*layer, head);
  const bool is_worth_it = static_cast<double>(missing) > kWorthStreaming * static_cast<double>(head.plain_bytes);
  if (is_worth_it && request.expected != nullptr) promise = request.expected->promise(expected_runs(*layer, head));
  const std::lock_guard lock(mutex);
  status.runs = std::make_shared<const image::PageRuns>(head.runs);
  is_needed = is_worth_it;
  changed.notify_all();
  return {};
}

Result<> BundleStream::State::take_piece(const BundlePiece& piece) {
  const Place place = place_of(*layer, piece.chunk, piece.first_page, piece.bytes.size());
  if (place.pack->present(place.offset, place.length)) return {};
  TRY_VOID(place.pack->store(place.offset, piece.bytes.substr(0, place.length)));
  const std::lock_guard lock(mutex);
  status.stored_bytes += piece.bytes.size();
  return {};
}

void BundleStream::State::end(Outcome outcome, const std::string& error) {
  const std::lock_guard lock(mutex);
  status.outcome = outcome;
  status.error = error;
  queue.clear();
  queued_bytes = 0;
  if (outcome == Outcome::failed) {
    log_warning("no bundle for this start: its reads fetch for themselves",
                {{"layer", request.layer.hex()}, {"profile", request.profile}, {"error", error}});
  }
  if (request.metrics != nullptr) {
    request.metrics
        ->counter("hearth_imagefs_bundles_total", "Bundles that were to be streamed into the cache",
                  {{"outcome", std::string(to_string(outcome))}})
        .add();
    request.metrics->counter("hearth_imagefs_bundle_stored_bytes_total", "Bytes of pages that came in bundles")
        .add(status.stored_bytes);
    request.metrics->counter("hearth_imagefs_bundle_received_bytes_total", "Bytes of bundles that were received")
        .add(status.received_bytes);
  }
  changed.notify_all();
}

}  // namespace hearth::mount
