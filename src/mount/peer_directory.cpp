#include "mount/peer_directory.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

namespace {

constexpr size_t kRememberedMax = 65536;           // packs a peer
constexpr Duration kHaveTime = seconds(1);         // for an answer to "which packs do you have"
constexpr Duration kMissRest = milliseconds(200);  // after bytes of a pack were not there
constexpr Duration kBusyRest = milliseconds(50);   // after a peer had others to serve
constexpr uint64_t kHaveAnswerBytesMax = 4096;

}  // namespace

PeerDirectory::PeerDirectory(PeerDirectoryOptions options, blob::HttpClient& client, const PeerSecret& secret)
    : options_(std::move(options)), client_(client), secret_(secret) {
  for (const auto& address : options_.peers) {
    peers_.push_back(std::make_unique<Peer>());
    peers_.back()->address = address;
    peers_.back()->breaker = blob::Breaker(options_.breaker);
  }
  for (size_t i = 0; i < peers_.size(); ++i) {
    peers_[i]->asker = std::jthread([this, i](const std::stop_token& stop) { keep_asking(i, stop); });
  }
}

PeerDirectory::~PeerDirectory() {
  for (auto& peer : peers_) peer->asker.request_stop();
  for (auto& peer : peers_) peer->asker.join();
}

Result<blob::HttpReply> PeerDirectory::ask(size_t peer, std::string_view path, std::string_view body,
                                           uint64_t reply_max_bytes, const blob::Patience& patience) const {
  blob::HttpRequest request;
  request.method = "POST";
  request.url = "http://" + peers_[peer]->address + std::string(path);
  request.headers = {std::string(kPeerProofHeader) + ": " + secret_.prove(path, body, wall_now()),
                     "Content-Type: application/octet-stream"};
  request.body = blob::HttpBody{.bytes = body};
  request.reply_max_bytes = reply_max_bytes;
  request.patience = patience;
  return client_.exchange(request);
}

/// `mutex_` is held, as in all that follow but the public ones.
void PeerDirectory::want(const Digest& pack, MonoTime now) {
  for (auto& peer : peers_) {
    if (peer->is_self) continue;
    if (peer->known.size() >= kRememberedMax) peer->known.clear();
    auto& known = peer->known[pack];
    if (known.asked || now < known.until) continue;
    known.asked = true;
    peer->wanted.push_back(pack);
    peer->wake.notify_one();
  }
}

std::optional<size_t> PeerDirectory::best(const Digest& pack, MonoTime now) const {
  std::optional<size_t> best;
  const auto rank = [this, &pack](size_t number) {
    const auto& peer = *peers_[number];
    return std::pair(peer.in_flight, peer.known.at(pack).has == PeerHas::all ? 0 : 1);
  };
  for (size_t i = 0; i < peers_.size(); ++i) {
    const auto& peer = *peers_[i];
    const auto known = peer.known.find(pack);
    if (peer.is_self || peer.breaker.open() || now < peer.busy_until) continue;
    if (known == peer.known.end() || known->second.has == PeerHas::none) continue;
    if (!best || rank(i) < rank(*best)) best = i;
  }
  return best;
}

bool PeerDirectory::awaits_first_answer(const Digest& pack) const {
  return std::ranges::any_of(peers_, [&pack](const auto& peer) {
    const auto known = peer->known.find(pack);
    return !peer->is_self && !peer->breaker.open() && known != peer->known.end() && known->second.asked &&
           !known->second.answered;
  });
}

std::optional<size_t> PeerDirectory::choose(const Digest& pack, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const MonoTime begin = mono_now();
  want(pack, begin);
  std::optional<size_t> chosen;
  answered_.wait_until(lock, stop, begin + options_.have_wait, [&] {
    chosen = best(pack, mono_now());
    return chosen || !awaits_first_answer(pack);
  });
  if (!chosen || !peers_[*chosen]->breaker.may_try(mono_now())) return std::nullopt;
  ++peers_[*chosen]->in_flight;
  return chosen;
}

void PeerDirectory::remember(Peer& peer, const Digest& pack, PeerHas has, Duration time) {
  auto& known = peer.known[pack];
  known.has = has;
  known.answered = true;
  known.until = mono_now() + time;
}

/// What a peer had before it went away is asked again when it comes back.
void PeerDirectory::failed(Peer& peer, const Error& error) {
  const bool was_open = peer.breaker.open();
  peer.breaker.on_failure(mono_now());
  if (!peer.breaker.open()) return;
  for (auto& [pack, known] : peer.known) known.until = {};
  if (!was_open) log_warning("a peer is left alone for a while", {{"peer", peer.address}, {"error", error.message}});
  answered_.notify_all();
}

void PeerDirectory::report(size_t number, const Digest& pack, PeerOutcome outcome) {
  const std::lock_guard lock(mutex_);
  auto& peer = *peers_[number];
  --peer.in_flight;
  switch (outcome) {
    case PeerOutcome::gave:
      peer.breaker.on_success();
      break;
    case PeerOutcome::absent:
      peer.breaker.on_success();
      remember(peer, pack, PeerHas::none, kMissRest);
      break;
    case PeerOutcome::busy:
      peer.breaker.on_success();
      peer.busy_until = mono_now() + kBusyRest;
      break;
    case PeerOutcome::failed:
      failed(peer, {ErrorCode::unavailable, "reads of it fail"});
      break;
    case PeerOutcome::nothing:
      peer.breaker.on_nothing();
      break;
  }
}

void PeerDirectory::overtaken(size_t number) {
  const std::lock_guard lock(mutex_);
  failed(*peers_[number], {ErrorCode::unavailable, "it is slower than the store"});
}

void PeerDirectory::refute(size_t number, const Digest& pack) {
  const std::lock_guard lock(mutex_);
  auto& peer = *peers_[number];
  const auto& known = peer.known[pack];
  if (known.has == PeerHas::none && known.until > mono_now() + kMissRest) return;  // several pieces of one answer
  log_warning("a peer gave wrong bytes", {{"peer", peer.address}, {"pack", pack.hex()}});
  remember(peer, pack, PeerHas::none, options_.remembered_wrong);
}

Result<PeerHaveAnswer> PeerDirectory::ask_have(size_t number, const std::vector<Digest>& packs,
                                               const std::stop_token& stop) const {
  TRY(const auto reply, ask(number, kPeerHavePath, encode_have(packs), kHaveAnswerBytesMax,
                            {.deadline = Deadline::after(mono_now(), kHaveTime), .stop = stop}));
  if (reply.status == 403) return fail(ErrorCode::denied, "it does not know our secret, or its clock differs");
  if (!reply.ok()) return fail(ErrorCode::unavailable, "it answers HTTP " + std::to_string(reply.status));
  return decode_have_answer(reply.body, packs.size());
}

void PeerDirectory::keep_asking(size_t number, const std::stop_token& stop) {
  auto& peer = *peers_[number];
  std::unique_lock lock(mutex_);
  while (peer.wake.wait(lock, stop, [&peer] { return !peer.wanted.empty(); })) {
    if (stop.stop_requested()) return;
    const size_t count = std::min(peer.wanted.size(), kPeerPacksMax);
    const std::vector<Digest> packs(peer.wanted.begin(), peer.wanted.begin() + static_cast<ptrdiff_t>(count));
    peer.wanted.erase(peer.wanted.begin(), peer.wanted.begin() + static_cast<ptrdiff_t>(count));
    Result<PeerHaveAnswer> answer = fail(ErrorCode::unavailable, "left alone");
    if (peer.breaker.may_try(mono_now())) {
      lock.unlock();
      answer = ask_have(number, packs, stop);
      lock.lock();
      if (answer) {
        peer.breaker.on_success();
        peer.is_self = options_.node != 0 && answer->node == options_.node;
      } else {
        failed(peer, answer.error());
      }
    }
    for (size_t i = 0; i < packs.size(); ++i) {
      const PeerHas has = answer ? answer->packs[i] : PeerHas::none;
      const Duration time = has == PeerHas::all    ? options_.remembered
                            : has == PeerHas::part ? options_.remembered_part
                                                   : options_.remembered_none;
      auto& known = peer.known[packs[i]];
      known.asked = false;
      // What was found wrong meanwhile stays so.
      if (known.until <= mono_now()) remember(peer, packs[i], has, time);
    }
    answered_.notify_all();
  }
}

}  // namespace hearth::mount
