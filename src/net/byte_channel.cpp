#include "net/byte_channel.hpp"

#include "net/output_queue.hpp"
#include "net/socket_address.hpp"

#include <errno.h>
#include <sys/socket.h>

namespace hearth::net {

struct ByteChannel::State {
  EventLoop& loop;
  UniqueFd fd;
  Watch watch;
  Callbacks callbacks;
  std::function<void()> on_drained;
  OutputQueue out;
  bool connecting = false;
  bool started = false;
  bool paused = false;
  bool flush_queued = false;
  bool blocked = false;  // the kernel refused bytes: wait for it to be writable

  State(EventLoop& l, UniqueFd f) : loop(l), fd(std::move(f)) {}
};

namespace {
Readiness wanted(const auto& state) {
  bool readable = state.started && !state.paused;
  return {.readable = readable, .writable = state.blocked || state.connecting, .closed = readable};
}
}  // namespace

ByteChannel::ByteChannel(std::unique_ptr<State> state) : state_(std::move(state)) {}

ByteChannel::~ByteChannel() {
  close();
}

Result<std::shared_ptr<ByteChannel>> ByteChannel::connect_unix(EventLoop& loop, const std::filesystem::path& path) {
  TRY(auto address, SocketAddress::of_path(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("create socket", errno);
  if (::connect(fd.get(), address.get(), address.size()) != 0) {
    if (errno == EAGAIN) return fail(ErrorCode::unavailable, "connect to " + path.string() + ": its queue is full");
    if (errno == ECONNREFUSED || errno == ENOENT)
      return fail(ErrorCode::unavailable, "connect to " + path.string() + ": nobody listens there");
    return fail_errno("connect to " + path.string(), errno);
  }
  return adopt(loop, std::move(fd));
}

Result<std::shared_ptr<ByteChannel>> ByteChannel::connect_tcp(EventLoop& loop, std::string_view host_port) {
  TRY(auto address, SocketAddress::numeric(host_port));
  UniqueFd fd(::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("create socket", errno);
  set_no_delay(fd.get());
  if (::connect(fd.get(), address.get(), address.size()) == 0) return adopt(loop, std::move(fd));
  if (errno != EINPROGRESS) return fail_errno("connect to " + std::string(host_port), errno);
  auto channel = std::shared_ptr<ByteChannel>(new ByteChannel(std::make_unique<State>(loop, std::move(fd))));
  channel->state_->connecting = true;
  return channel;
}

std::shared_ptr<ByteChannel> ByteChannel::adopt(EventLoop& loop, UniqueFd fd) {
  set_non_blocking(fd.get());
  return std::shared_ptr<ByteChannel>(new ByteChannel(std::make_unique<State>(loop, std::move(fd))));
}

void ByteChannel::start(Callbacks callbacks) {
  CHECK_PROMISE(!state_->started);
  state_->callbacks = std::move(callbacks);
  state_->started = true;
  if (!is_open()) return;
  watch();
}

void ByteChannel::watch() {
  state_->watch = state_->loop.watch(state_->fd.get(), wanted(*state_), [weak = weak_from_this()](Readiness readiness) {
    if (auto self = weak.lock()) self->on_ready(readiness);
  });
}

void ByteChannel::on_ready(Readiness readiness) {
  if (state_->connecting && (readiness.writable || readiness.closed)) {
    state_->connecting = false;
    int reason = 0;
    socklen_t size = sizeof reason;
    ::getsockopt(state_->fd.get(), SOL_SOCKET, SO_ERROR, &reason, &size);
    if (reason != 0) return fail_with(fail_errno("connect", reason).error());
    state_->watch.want(wanted(*state_));
  }
  if (readiness.writable) flush();
  if (!is_open()) return;
  // A hang-up is read like data, so that everything sent before it arrives first. While reading is paused it waits,
  // unwatched: epoll would report it in every turn.
  if (!state_->paused && (readiness.readable || readiness.closed)) return read_some();
  if (readiness.closed) state_->watch.cancel();
}

void ByteChannel::read_some() {
  std::span<char> buffer = state_->loop.scratch();
  ssize_t got = ::recv(state_->fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got > 0) {
    if (state_->callbacks.on_data) state_->callbacks.on_data({buffer.data(), static_cast<size_t>(got)});
    return;
  }
  if (got == 0) return fail_with(Error{ErrorCode::unavailable, "the peer closed the connection"});
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return;
  fail_with(Error{ErrorCode::unavailable, fail_errno("connection lost", errno).error().message});
}

void ByteChannel::write(std::string bytes) {
  if (!is_open() || bytes.empty()) return;
  state_->out.push(std::move(bytes));
  if (state_->flush_queued || state_->blocked || state_->connecting) return;
  state_->flush_queued = true;
  state_->loop.defer([self = shared_from_this()] {
    self->state_->flush_queued = false;
    if (self->is_open() && !self->state_->connecting) self->flush();
  });
}

void ByteChannel::flush() {
  bool was_blocked = state_->blocked;
  OutputQueue::Sent sent = state_->out.send_to(state_->fd.get());
  if (sent == OutputQueue::Sent::broken) {
    // What the peer sent before it closed is still to be read; reading then finds the end and reports it.
    if (!state_->started) return fail_with(fail_errno("connection lost", errno).error());
    state_->out.clear();
    state_->blocked = false;
    return resume_reading();
  }
  state_->blocked = sent == OutputQueue::Sent::some;
  if (was_blocked != state_->blocked) state_->watch.want(wanted(*state_));
  if (was_blocked && !state_->blocked && state_->on_drained) state_->on_drained();
}

size_t ByteChannel::pending_bytes() const {
  return state_->out.size();
}

void ByteChannel::on_drained(std::function<void()> function) {
  state_->on_drained = std::move(function);
}

void ByteChannel::pause_reading() {
  state_->paused = true;
  state_->watch.want(wanted(*state_));
}

void ByteChannel::resume_reading() {
  state_->paused = false;
  if (!is_open() || !state_->started) return;
  if (state_->watch.is_active()) return state_->watch.want(wanted(*state_));
  watch();
}

void ByteChannel::close() {
  if (!is_open()) return;
  if (!state_->connecting) state_->out.send_to(state_->fd.get());
  state_->out.clear();
  state_->watch.cancel();
  state_->fd.reset();
}

bool ByteChannel::is_open() const {
  return static_cast<bool>(state_->fd);
}

void ByteChannel::fail_with(const Error& error) {
  auto keep = shared_from_this();
  state_->out.clear();
  state_->watch.cancel();
  state_->fd.reset();
  // The callbacks may hold the channel: let go of them, so that no cycle survives the connection.
  Callbacks callbacks = std::exchange(state_->callbacks, {});
  state_->on_drained = nullptr;
  if (callbacks.on_close) callbacks.on_close(error);
}

Result<PeerCredentials> ByteChannel::peer() const {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(state_->fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail_errno("peer credentials", errno);
  return PeerCredentials{.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
}

struct StreamListener::State {
  EventLoop& loop;
  UniqueFd fd;
  Watch watch;
  Timer retry;
  std::function<void(std::shared_ptr<ByteChannel>)> on_accept;
};

StreamListener::StreamListener(std::unique_ptr<State> state) : state_(std::move(state)) {}
StreamListener::~StreamListener() = default;

Result<std::unique_ptr<StreamListener>> StreamListener::start(
    EventLoop& loop, UniqueFd listening, std::function<void(std::shared_ptr<ByteChannel>)> on_accept) {
  set_non_blocking(listening.get());
  auto state = std::make_unique<State>(loop, std::move(listening));
  state->on_accept = std::move(on_accept);
  State* raw = state.get();
  state->watch = loop.watch(raw->fd.get(), {.readable = true}, [raw](Readiness) {
    UniqueFd accepted(::accept4(raw->fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted) return raw->on_accept(ByteChannel::adopt(raw->loop, std::move(accepted)));
    if (!is_out_of_descriptors(errno)) return;
    raw->watch.want({});
    raw->retry = raw->loop.call_after(kAcceptRetry, [raw] { raw->watch.want({.readable = true}); });
  });
  return std::unique_ptr<StreamListener>(new StreamListener(std::move(state)));
}

}  // namespace hearth::net
