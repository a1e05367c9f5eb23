#include "mount/imagefs.hpp"

#include "base/log.hpp"
#include "base/seqpacket.hpp"
#include "blob/object_store.hpp"
#include "mount/backends.hpp"
#include "mount/message.hpp"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <list>
#include <mutex>
#include <thread>

namespace hearth::mount {

namespace {

constexpr size_t kConnectionsMax = 256;

Result<> answer(SeqpacketSocket& socket, const LayerAnswer& message, const std::vector<int>& fds = {}) {
  return socket.send(encode(message), fds);
}

/// What the answer carries beside its words.
struct Served {
  UniqueFd mount;
  std::string trace;
  std::string metrics;
};

Result<Served> act(const LayerQuestion& question, SeqpacketSocket& socket, LayerBackend& backend) {
  Served served;
  switch (question.op) {
    case LayerOp::layer: {
      const auto tell = [&socket](const LayerProgress& progress) {
        // A client that has left is noticed when the answer is sent; the layer is finished all the same.
        (void)answer(socket, {.kind = LayerAnswer::Kind::progress, .progress = progress});
      };
      TRY(served.mount, backend.mount_layer(question, tell));
      break;
    }
    case LayerOp::recorded:
      TRY_VOID(backend.recorded(question));
      break;
    case LayerOp::trace: {
      TRY(served.trace, backend.trace(question));
      break;
    }
    case LayerOp::metrics:
      served.metrics = backend.metrics();
      break;
  }
  return served;
}

/// One question, any number of progress messages, one answer. An error means the connection is of no more use.
Result<> serve_question(SeqpacketSocket& socket, LayerBackend& backend) {
  TRY(const auto packet, socket.receive());
  auto served = [&socket, &backend, &packet]() -> Result<Served> {
    TRY(const auto question, decode_question(packet.bytes));
    return act(question, socket, backend);
  }();
  if (!served) return answer(socket, {.kind = LayerAnswer::Kind::error, .error = served.error()});
  const LayerAnswer ready{.kind = LayerAnswer::Kind::ready,
                          .backend = std::string(backend.name()),
                          .trace = std::move(served->trace),
                          .metrics = std::move(served->metrics)};
  if (!served->mount) return answer(socket, ready);
  return answer(socket, ready, {served->mount.get()});
}

/// The connections under way, one thread each.
class Connections {
 public:
  explicit Connections(LayerBackend& backend) : backend_(backend) {}
  ~Connections() {
    {
      const std::lock_guard lock(mutex_);
      for (auto& connection : list_) ::shutdown(connection.socket.fd(), SHUT_RDWR);
    }
    for (auto& connection : list_) {
      if (connection.thread.joinable()) connection.thread.join();
    }
  }
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  void add(SeqpacketSocket socket) {
    reap();
    if (list_.size() >= kConnectionsMax) {
      log_warning("imagefs has too many connections; one is refused");
      return;
    }
    auto& connection = list_.emplace_back(std::move(socket));
    connection.thread = std::thread([this, &connection] {
      while (serve_question(connection.socket, backend_)) {
      }
      const std::lock_guard lock(mutex_);
      connection.done = true;
    });
  }

 private:
  struct Connection {
    explicit Connection(SeqpacketSocket s) : socket(std::move(s)) {}
    SeqpacketSocket socket;
    std::thread thread;
    bool done = false;
  };

  void reap() {
    const std::lock_guard lock(mutex_);
    for (auto at = list_.begin(); at != list_.end();) {
      if (!at->done) {
        ++at;
        continue;
      }
      at->thread.join();
      at = list_.erase(at);
    }
  }

  LayerBackend& backend_;
  std::mutex mutex_;            // guards `done`
  std::list<Connection> list_;  // used by the accepting thread alone
};

Result<UniqueFd> block_stop_signals() {
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stops, nullptr);
  UniqueFd fd(::signalfd(-1, &stops, SFD_CLOEXEC));
  if (!fd) return fail_errno("signalfd", errno);
  return fd;
}

void accept_one(SeqpacketListener& listener, Connections& connections) {
  auto socket = listener.accept();
  if (!socket) {
    log_warning("imagefs could not accept a connection", {{"error", socket.error().message}});
    return;
  }
  const auto peer = socket->peer();
  if (!peer || peer->uid != 0) {
    log_warning("imagefs speaks to root alone", {{"uid", peer ? static_cast<int64_t>(peer->uid) : -1}});
    return;
  }
  connections.add(std::move(*socket));
}

}  // namespace

Result<> serve(const Config& config) {
  // Fetched ranges of megabytes in dozens of threads: with an arena a thread 1 GiB streamed peaks at 157 MB, so at 54.
  ::mallopt(M_ARENA_MAX, 2);
  TRY(const auto signals, block_stop_signals());
  TRY(auto store, blob::open_store(config.store));
  TRY(auto listener, SeqpacketListener::listen(config.socket));  // first: it is refused while another one serves
  TRY(const auto backend, open_backend(config, store));
  Connections connections(*backend);
  log_info("imagefs serves", {{"socket", config.socket.string()}, {"backend", backend->name()}});
  for (;;) {
    pollfd waiters[] = {{signals.get(), POLLIN, 0}, {listener.fd(), POLLIN, 0}};
    if (::poll(waiters, 2, -1) < 0 && errno != EINTR) return fail_errno("poll", errno);
    if ((waiters[0].revents & POLLIN) != 0) break;
    if ((waiters[1].revents & POLLIN) != 0) accept_one(listener, connections);
  }
  backend->stop();
  log_info("imagefs stops");
  return {};
}

}  // namespace hearth::mount
