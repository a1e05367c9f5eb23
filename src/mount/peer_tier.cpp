#include "mount/peer_tier.hpp"

#include "blob/http_client.hpp"
#include "mount/peer_directory.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace hearth::mount {

namespace {

constexpr int kStatusAbsent = 404;
constexpr int kStatusBusy = 503;

/// The pieces of a read, as questions that a peer answers.
std::vector<PeerReadQuestion> questions_of(const ChunkRead& what) {
  std::vector<PeerReadQuestion> questions;
  uint64_t bytes = 0;
  for (const auto& piece : what.pieces) {
    const bool full = !questions.empty() &&
                      (questions.back().pieces.size() == kPeerPiecesMax || bytes + piece.length > kPeerReadBytesMax);
    if (questions.empty() || full) {
      questions.push_back({.pack = what.pack, .pieces = {}});
      bytes = 0;
    }
    questions.back().pieces.push_back(piece);
    bytes += piece.length;
  }
  return questions;
}

/// One read of a peer, and perhaps of the store beside it. The first to finish decides.
struct Race {
  size_t peer = 0;
  std::vector<PeerReadQuestion> questions{};
  uint64_t bytes = 0;
  Deadline deadline{};
  std::atomic<bool> lost{false};  // against the store
  std::stop_source of_peer{};
  std::stop_source of_store{};
  std::mutex mutex{};
  std::condition_variable_any answered{};
  std::optional<Result<ChunkBytes>> answer{};  // the peer's
};

}  // namespace

struct PeerTier::State : std::enable_shared_from_this<State> {
  explicit State(PeerTierOptions its_options);

  Result<ChunkBytes> read(const ChunkRead& what);
  Result<ChunkBytes> run_race(const std::shared_ptr<Race>& race, const ChunkRead& what);
  Result<ChunkBytes> read_store(const std::shared_ptr<Race>& race, const ChunkRead& what);
  void read_peer(const std::shared_ptr<Race>& race);
  Result<std::string> fetch(const Race& race);
  PeerOutcome outcome_of(const Race& race, const Result<std::string>& bytes) const;
  Duration patience(uint64_t bytes);
  bool may_hedge();

  const PeerTierOptions options;
  blob::HttpClient client;
  PeerDirectory directory;
  Counter* hedges = nullptr;
  Counter* hedges_won = nullptr;

  std::mutex mutex;  // of what follows
  blob::HedgePolicy policy;
  int threads = 0;
  std::condition_variable ended;
};

PeerTier::State::State(PeerTierOptions its_options)
    : options(std::move(its_options)),
      client({.connect_timeout = options.connect_timeout, .stall_timeout = options.stall_timeout, .direct = true}),
      directory({.peers = options.peers,
                 .node = options.node,
                 .have_wait = options.have_wait,
                 .remembered = options.remembered,
                 .remembered_part = options.remembered_part,
                 .remembered_none = options.remembered_none,
                 .remembered_wrong = options.remembered_wrong,
                 .breaker = options.breaker},
                client, options.secret),
      policy(options.hedge) {
  static MetricRegistry unread;
  auto& metrics = options.metrics != nullptr ? *options.metrics : unread;
  hedges = &metrics.counter("hearth_imagefs_peer_hedges_total", "Reads of slow peers that were sent to the store, too");
  hedges_won = &metrics.counter("hearth_imagefs_peer_hedges_won_total", "… and that the store answered first");
}

Duration PeerTier::State::patience(uint64_t bytes) {
  const std::lock_guard lock(mutex);
  policy.on_request();
  return policy.patience(bytes).value_or(options.first_patience);
}

bool PeerTier::State::may_hedge() {
  const std::lock_guard lock(mutex);
  return policy.spend();
}

Result<ChunkBytes> PeerTier::State::read(const ChunkRead& what) {
  if (what.round > 0) return fail(ErrorCode::not_found, "after wrong bytes the store is asked");
  const auto peer = directory.choose(what.pack, what.stop);
  if (!peer) return fail(ErrorCode::not_found, "no peer has pack " + what.pack.hex());
  auto race = std::make_shared<Race>();
  race->peer = *peer;
  race->questions = questions_of(what);
  for (const auto& question : race->questions) race->bytes += question.bytes();
  const auto limit = Deadline::after(mono_now(), options.read_time);
  race->deadline = what.deadline.at() && *what.deadline.at() < *limit.at() ? what.deadline : limit;
  if (what.urgency == Urgency::demand) return run_race(race, what);

  if (options.prefetch_limit != nullptr) {
    auto taken = options.prefetch_limit->take(race->bytes, {.deadline = what.deadline, .stop = what.stop});
    if (!taken) {
      directory.report(*peer, what.pack, PeerOutcome::nothing);
      return Unexpected(std::move(taken).error());
    }
    race->deadline = Deadline::after(mono_now(), options.read_time);
  }
  const std::stop_callback forward(what.stop, [&race] { race->of_peer.request_stop(); });
  read_peer(race);
  return std::move(*race->answer);
}

/// The peer is read in another thread, so that this one can read the store when its patience ends.
Result<ChunkBytes> PeerTier::State::run_race(const std::shared_ptr<Race>& race, const ChunkRead& what) {
  const Duration wait = patience(race->bytes);
  {
    const std::lock_guard lock(mutex);
    ++threads;
  }
  std::thread([self = shared_from_this(), race] {
    self->read_peer(race);
    const std::lock_guard lock(self->mutex);
    --self->threads;
    self->ended.notify_all();
  }).detach();

  const auto is_answered = [&race] { return race->answer.has_value(); };
  std::unique_lock lock(race->mutex);
  const bool in_time = race->answered.wait_for(lock, what.stop, wait, is_answered);
  if (!in_time && !what.stop.stop_requested() && options.store != nullptr && may_hedge()) {
    lock.unlock();
    auto bytes = read_store(race, what);
    if (bytes) return bytes;
    lock.lock();
  }
  race->answered.wait(lock, what.stop, is_answered);
  if (race->answer) return std::move(*race->answer);
  race->of_peer.request_stop();
  return fail(ErrorCode::cancelled, "given up");
}

/// An error: the peer was first, or the store failed.
Result<ChunkBytes> PeerTier::State::read_store(const std::shared_ptr<Race>& race, const ChunkRead& what) {
  hedges->add();
  const std::stop_callback forward(what.stop, [&race] { race->of_store.request_stop(); });
  ChunkRead again = what;
  again.stop = race->of_store.get_token();
  auto bytes = options.store->read(again);
  const std::lock_guard lock(race->mutex);
  if (race->answer && *race->answer) return std::move(*race->answer);
  if (!bytes) return bytes;
  hedges_won->add();
  race->lost = true;
  directory.overtaken(race->peer);
  race->of_peer.request_stop();
  if (bytes->source.empty()) bytes->source = options.store->name();
  return bytes;
}

void PeerTier::State::read_peer(const std::shared_ptr<Race>& race) {
  const MonoTime begin = mono_now();
  auto bytes = fetch(*race);
  const Digest pack = race->questions.front().pack;
  directory.report(race->peer, pack, outcome_of(*race, bytes));
  if (bytes || race->lost) {
    const std::lock_guard lock(mutex);
    policy.on_answer(race->bytes, mono_now() - begin);
  }
  const std::lock_guard lock(race->mutex);
  if (bytes) {
    const auto refute = [weak = weak_from_this(), peer = race->peer, pack] {
      if (const auto self = weak.lock()) self->directory.refute(peer, pack);
    };
    race->answer =
        ChunkBytes{.form = ChunkBytes::Form::plain, .bytes = std::move(*bytes), .source = kPeer, .refute = refute};
    race->of_store.request_stop();
  } else {
    race->answer = Unexpected(std::move(bytes).error());
  }
  race->answered.notify_all();
}

Result<std::string> PeerTier::State::fetch(const Race& race) {
  std::string all;
  for (const auto& question : race.questions) {
    const uint64_t expected = question.bytes();
    TRY(auto reply, directory.ask(race.peer, kPeerReadPath, encode(question), expected,
                                  {.deadline = race.deadline, .stop = race.of_peer.get_token()}));
    if (reply.status == kStatusAbsent) return fail(ErrorCode::not_found, "the peer has not all of it");
    if (reply.status == kStatusBusy) return fail(ErrorCode::exhausted, "the peer is busy");
    if (!reply.ok()) return fail(ErrorCode::unavailable, "a peer answers HTTP " + std::to_string(reply.status));
    if (reply.body.size() != expected) return fail(ErrorCode::corrupt, "a peer gave too few bytes");
    if (all.empty()) {
      all = std::move(reply.body);
    } else {
      all += reply.body;
    }
  }
  return all;
}

PeerOutcome PeerTier::State::outcome_of(const Race& race, const Result<std::string>& bytes) const {
  if (bytes) return PeerOutcome::gave;
  if (race.lost) return PeerOutcome::nothing;  // told by who was faster
  switch (bytes.error().code) {
    case ErrorCode::not_found:
      return PeerOutcome::absent;
    case ErrorCode::exhausted:
      return PeerOutcome::busy;
    case ErrorCode::cancelled:
      return PeerOutcome::nothing;
    default:
      return PeerOutcome::failed;
  }
}

Result<std::unique_ptr<PeerTier>> PeerTier::open(PeerTierOptions options) {
  if (options.peers.size() > kPeersMax) {
    return fail(ErrorCode::invalid_argument, "more than " + std::to_string(kPeersMax) + " peers");
  }
  for (const auto& peer : options.peers) {
    const size_t colon = peer.rfind(':');
    const bool is_address = colon != std::string::npos && colon > 0 && colon + 1 < peer.size() &&
                            peer.find_first_not_of("0123456789", colon + 1) == std::string::npos &&
                            peer.find_first_of("/@?# ") == std::string::npos;
    if (!is_address) return fail(ErrorCode::invalid_argument, "a peer is HOST:PORT, and not \"" + peer + "\"");
  }
  return std::unique_ptr<PeerTier>(new PeerTier(std::make_shared<State>(std::move(options))));
}

PeerTier::~PeerTier() {
  std::unique_lock lock(state_->mutex);
  state_->ended.wait(lock, [this] { return state_->threads == 0; });
}

std::vector<std::string_view> PeerTier::sources() const {
  std::vector<std::string_view> sources{kPeer};
  if (state_->options.store != nullptr) {
    for (const auto source : state_->options.store->sources()) sources.push_back(source);
  }
  return sources;
}

Result<ChunkBytes> PeerTier::read(const ChunkRead& what) {
  return state_->read(what);
}

}  // namespace hearth::mount
