#include "mount/peer_server.hpp"

#include "base/log.hpp"
#include "mount/low_priority.hpp"
#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"
#include "net/http_server.hpp"
#include "net/listen.hpp"

#include <algorithm>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>

namespace hearth::mount {

namespace {

using Exchange = std::shared_ptr<net::HttpExchange>;

constexpr size_t kDiskThreads = 2;
constexpr size_t kSliceBytes = size_t{256} << 10;  // read and sent at a time
constexpr uint32_t kHeaderBytesMax = 4096;
constexpr uint64_t kReceivingBytesMax = uint64_t{4} << 20;
constexpr Duration kIdleTimeout = seconds(30);
constexpr Duration kReceiveTimeout = seconds(5);

/// Once a thread: those of the disk are the last in line.
void yield_to_readers() {
  thread_local bool done = false;
  if (!std::exchange(done, true)) lower_priority();
}

/// Where an answer is: a walk over the pieces that were asked for.
struct Walk {
  PackView view;
  std::vector<ChunkRead::Piece> pieces;
  size_t piece = 0;
  uint32_t offset = 0;  // in that piece
  bool done() const { return piece == pieces.size(); }
};

/// The next bytes. An error when they are no longer there: found wrong a moment ago.
Result<std::string> next_slice(Walk& walk) {
  std::string slice;
  while (!walk.done() && slice.size() < kSliceBytes) {
    const auto& piece = walk.pieces[walk.piece];
    const auto size = static_cast<uint32_t>(std::min<size_t>(piece.length - walk.offset, kSliceBytes - slice.size()));
    const uint64_t at = piece.plain_offset + walk.offset;
    if (!walk.view.present(at, size)) return fail(ErrorCode::not_found, "not verified any more");
    const size_t before = slice.size();
    slice.resize(before + size);
    TRY_VOID(walk.view.read(at, slice.data() + before, size));
    walk.offset += size;
    if (walk.offset < piece.length) continue;
    ++walk.piece;
    walk.offset = 0;
  }
  return slice;
}

Result<Walk> begin_walk(const DiskCache& cache, PeerReadQuestion question) {
  TRY(auto view, cache.view(question.pack));
  const bool all_there = std::ranges::all_of(
      question.pieces, [&view](const auto& piece) { return view.present(piece.plain_offset, piece.length); });
  if (!all_there) return fail(ErrorCode::not_found, "not all of it is here");
  return Walk{.view = std::move(view), .pieces = std::move(question.pieces)};
}

PeerHas what_is_there(const DiskCache& cache, const Digest& pack) {
  const auto view = cache.view(pack);
  const uint64_t bytes = view ? view->present_bytes() : 0;
  if (bytes == 0) return PeerHas::none;
  return bytes == view->plain_size() ? PeerHas::all : PeerHas::part;
}

/// One read being answered. Belongs to the loop's thread, but for `walk`, which is the disk threads' while they read.
struct Answer {
  Exchange exchange;
  PeerReadQuestion question;
  std::optional<Walk> walk{};
  bool begun = false;
  net::Timer limit{};
};

}  // namespace

struct PeerServer::State {
  State(PeerServerOptions its_options, std::shared_ptr<DiskCache> its_cache);
  ~State();
  Result<> start();

  void handle(net::HttpRequest&& request, const Exchange& exchange);
  void answer_have(const net::HttpRequest& request, const Exchange& exchange);
  void answer_read(const net::HttpRequest& request, const Exchange& exchange);
  void go_on(const std::shared_ptr<Answer>& answer);
  void send(const std::shared_ptr<Answer>& answer, Result<std::string> slice);
  void end(const std::shared_ptr<Answer>& answer);
  void refuse(const Exchange& exchange, int status);

  const PeerServerOptions options;
  const std::shared_ptr<DiskCache> cache;
  std::string address;
  std::unordered_set<std::shared_ptr<Answer>> under_way;  // the loop's

  Counter* served_reads = nullptr;
  Counter* served_bytes = nullptr;
  Counter* absent = nullptr;
  Counter* busy = nullptr;
  Counter* forbidden = nullptr;
  Counter* malformed = nullptr;

  net::EventLoop loop;
  net::BlockingPool disk{loop, kDiskThreads};
  std::unique_ptr<net::HttpServer> server;
  std::thread thread;
};

PeerServer::State::State(PeerServerOptions its_options, std::shared_ptr<DiskCache> its_cache)
    : options(std::move(its_options)), cache(std::move(its_cache)) {
  static MetricRegistry unread;
  auto& metrics = options.metrics != nullptr ? *options.metrics : unread;
  served_reads = &metrics.counter("hearth_imagefs_peer_served_total", "Reads of other nodes that were answered");
  served_bytes = &metrics.counter("hearth_imagefs_peer_served_bytes_total", "Bytes given to other nodes");
  const auto refused = [&metrics](const std::string& reason) {
    return &metrics.counter("hearth_imagefs_peer_refused_total", "Questions of other nodes that were not answered",
                            {{"reason", reason}});
  };
  absent = refused("absent");
  busy = refused("busy");
  forbidden = refused("forbidden");
  malformed = refused("malformed");
}

Result<> PeerServer::State::start() {
  TRY(auto listening, net::listen_tcp(options.listen));
  TRY(address, net::local_address(listening.get()));
  net::HttpServerOptions limits;
  limits.header_limit_bytes = kHeaderBytesMax;
  limits.body_limit_bytes = kPeerQuestionBytesMax;
  limits.receiving_limit_bytes = kReceivingBytesMax;
  limits.connections_max = options.connections_max;
  limits.idle_timeout = kIdleTimeout;
  limits.header_timeout = kReceiveTimeout;
  limits.body_timeout = kReceiveTimeout;
  limits.write_timeout = options.answer_time;
  TRY(server, net::HttpServer::start(loop, std::move(listening), limits,
                                     [this](net::HttpRequest&& request, const Exchange& exchange) {
                                       handle(std::move(request), exchange);
                                     }));
  thread = std::thread([this] {
    loop.run();
    server.reset();
  });
  return {};
}

PeerServer::State::~State() {
  loop.stop();
  if (thread.joinable()) thread.join();
}

/// Without a body: who may not ask learns nothing, and the others know what it means.
void PeerServer::State::refuse(const Exchange& exchange, int status) {
  exchange->respond({.status = status, .body = "", .content_type = "", .headers = {}});
}

void PeerServer::State::handle(net::HttpRequest&& request, const Exchange& exchange) {
  const auto proof = request.headers.find(kPeerProofHeader);
  if (request.method != "POST" || !proof || !options.secret.proven(*proof, request.target, request.body, wall_now())) {
    forbidden->add();
    return refuse(exchange, 403);
  }
  if (request.target == kPeerHavePath) return answer_have(request, exchange);
  if (request.target == kPeerReadPath) return answer_read(request, exchange);
  malformed->add();
  refuse(exchange, 404);
}

void PeerServer::State::answer_have(const net::HttpRequest& request, const Exchange& exchange) {
  auto packs = decode_have(request.body);
  if (!packs) {
    malformed->add();
    return refuse(exchange, 400);
  }
  disk.run_then(
      [this, packs = std::move(*packs)] {
        yield_to_readers();
        PeerHaveAnswer answer{.node = options.node, .packs = {}};
        for (const Digest& pack : packs) answer.packs.push_back(what_is_there(*cache, pack));
        return encode(answer);
      },
      [exchange](std::string body) {
        exchange->respond(
            {.status = 200, .body = std::move(body), .content_type = "application/octet-stream", .headers = {}});
      });
}

void PeerServer::State::answer_read(const net::HttpRequest& request, const Exchange& exchange) {
  auto question = decode_peer_read(request.body);
  if (!question) {
    malformed->add();
    return refuse(exchange, 400);
  }
  if (under_way.size() >= (options.is_busy() ? options.answers_max_busy : options.answers_max)) {
    busy->add();
    return refuse(exchange, 503);
  }
  auto answer = std::make_shared<Answer>(Answer{.exchange = exchange, .question = std::move(*question)});
  under_way.insert(answer);
  // Neither who has gone nor who takes a byte now and then keeps a place.
  answer->limit = loop.call_after(options.answer_time, [this, weak = std::weak_ptr(answer)] {
    if (const auto late = weak.lock()) end(late);
  });
  exchange->on_disconnect([this, weak = std::weak_ptr(answer)] {
    if (const auto gone = weak.lock()) end(gone);
  });
  go_on(answer);
}

/// Reads the next slice in a thread of the disk.
void PeerServer::State::go_on(const std::shared_ptr<Answer>& answer) {
  disk.run_then(
      [this, answer]() -> Result<std::string> {
        yield_to_readers();
        if (!answer->walk) {
          TRY(auto walk, begin_walk(*cache, std::move(answer->question)));
          answer->walk.emplace(std::move(walk));
        }
        return next_slice(*answer->walk);
      },
      [this, answer](Result<std::string> slice) { send(answer, std::move(slice)); });
}

void PeerServer::State::send(const std::shared_ptr<Answer>& answer, Result<std::string> slice) {
  if (!answer->exchange) return;  // over
  if (!slice) {
    absent->add();
    // In the middle of an answer only a broken connection can say so.
    if (!answer->begun) refuse(answer->exchange, slice.error().code == ErrorCode::not_found ? 404 : 500);
    return end(answer);
  }
  if (!std::exchange(answer->begun, true)) {
    answer->exchange->start_stream(
        {.status = 200, .body = "", .content_type = "application/octet-stream", .headers = {}});
  }
  served_bytes->add(slice->size());
  // Until it has been taken this answer holds nothing but the slice.
  answer->exchange->on_drained([this, weak = std::weak_ptr(answer), last = answer->walk->done()] {
    const auto drained = weak.lock();
    if (!drained || !drained->exchange) return;
    if (!last) return go_on(drained);
    served_reads->add();
    drained->exchange->finish();
    end(drained);
  });
  answer->exchange->write(*slice);
}

/// What was begun and not finished breaks its connection.
void PeerServer::State::end(const std::shared_ptr<Answer>& answer) {
  if (under_way.erase(answer) == 0) return;
  answer->limit.cancel();
  const Exchange last = std::exchange(answer->exchange, nullptr);
}

PeerServer::PeerServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
PeerServer::~PeerServer() = default;

Result<std::unique_ptr<PeerServer>> PeerServer::start(PeerServerOptions options, std::shared_ptr<DiskCache> cache) {
  auto state = std::make_unique<State>(std::move(options), std::move(cache));
  TRY_VOID(state->start());
  log_info("other nodes are served", {{"address", state->address}});
  return std::unique_ptr<PeerServer>(new PeerServer(std::move(state)));
}

const std::string& PeerServer::address() const {
  return state_->address;
}

}  // namespace hearth::mount
