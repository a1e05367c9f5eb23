// A stream connection (Unix or TCP) that carries bytes both ways: what the wire protocol and Redis run on.
#pragma once

#include "base/result.hpp"
#include "base/seqpacket.hpp"  // PeerCredentials
#include "base/unique_fd.hpp"
#include "net/event_loop.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::net {

/// Belongs to its loop's thread. Set the callbacks before the turn ends in which it was made; nothing is read until
/// start(). Callbacks may close the channel and may drop the last reference to it.
class ByteChannel : public std::enable_shared_from_this<ByteChannel> {
 public:
  struct Callbacks {
    /// Bytes as they arrive, up to 256 KiB at once; the view is valid during the call.
    std::function<void(std::string_view)> on_data;
    /// Exactly once, unless we called close(): the peer closed (`unavailable`) or the connection broke. All data that
    /// arrived before has been given to on_data. What was written and not yet sent is lost.
    std::function<void(const Error&)> on_close;
  };

  /// Unix sockets connect at once or fail (`unavailable`: nobody listens, or its queue is full; try again later).
  static Result<std::shared_ptr<ByteChannel>> connect_unix(EventLoop& loop, const std::filesystem::path& path);
  /// "10.0.0.7:6379", numeric. Returns before the connection is made; on_close says when it fails.
  static Result<std::shared_ptr<ByteChannel>> connect_tcp(EventLoop& loop, std::string_view host_port);
  /// Takes over a connected stream socket.
  static std::shared_ptr<ByteChannel> adopt(EventLoop& loop, UniqueFd fd);
  ~ByteChannel();

  /// Begins reading.
  void start(Callbacks callbacks);

  /// Queues the bytes. They leave at the end of this turn of the loop, together with all else queued in it, in one
  /// system call. After close this does nothing.
  void write(std::string bytes);
  /// Queued and not yet taken by the kernel: the figure for back-pressure.
  size_t pending_bytes() const;
  /// Called each time the queue has become empty after the kernel had refused bytes.
  void on_drained(std::function<void()> function);

  /// Back-pressure the other way: nothing more is read until resume_reading().
  void pause_reading();
  void resume_reading();

  /// Sends what is queued as far as the kernel takes it now, then closes. on_close is not called.
  void close();
  bool is_open() const;

  /// Unix sockets only.
  Result<PeerCredentials> peer() const;

 private:
  struct State;
  explicit ByteChannel(std::unique_ptr<State> state);
  void watch();
  void on_ready(Readiness readiness);
  void read_some();
  void flush();
  void fail_with(const Error& error);
  std::unique_ptr<State> state_;
};

/// Accepts stream connections on a listening socket (listen.hpp).
class StreamListener {
 public:
  static Result<std::unique_ptr<StreamListener>> start(EventLoop& loop, UniqueFd listening,
                                                       std::function<void(std::shared_ptr<ByteChannel>)> on_accept);
  ~StreamListener();

 private:
  struct State;
  explicit StreamListener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::net
