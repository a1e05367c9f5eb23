// HTTP/1.1 server on one event loop: keep-alive, pipelining, chunked bodies, limits, time-outs, streams.
//
// The handler gets each complete request with its HttpExchange and answers whenever it likes:
//   auto server = HttpServer::start(loop, std::move(listening), options,
//       [](HttpRequest&& request, std::shared_ptr<HttpExchange> exchange) { exchange->respond({.body = "{}"}); });
// Everything here belongs to the loop's thread.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "net/event_loop.hpp"
#include "net/http_message.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::net {

class HttpConnection;

/// One request's answer: either respond() once, or start_stream() write()* finish(). Keep the shared_ptr until then;
/// dropping it unanswered answers 500. After the client has gone every call is a harmless no-op.
class HttpExchange {
 public:
  explicit HttpExchange(HttpConnection* connection) : connection_(connection) {}
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  void respond(HttpResponse response);
  /// respond() with `{"error": message}`.
  void respond_error(int status, std::string_view message);

  /// Chunked answer, for NDJSON and the like. `head.body` goes out as the first piece. Each write is on its way at the
  /// end of the turn.
  void start_stream(const HttpResponse& head);
  void write(std::string_view piece);
  void finish();
  /// Bytes written but not yet taken by the client's socket. Stop producing above a limit of your own …
  size_t pending_bytes() const;
  /// … and go on when this is called: once, when pending_bytes() has come down to zero.
  void on_drained(std::function<void()> function);

  /// Called once if the client closes, or only stops sending, before the answer is complete. Not called after it.
  void on_disconnect(std::function<void()> function) { on_disconnect_ = std::move(function); }
  /// True once the answer is complete or the client has gone.
  bool is_closed() const { return connection_ == nullptr; }
  /// "127.0.0.1:4711"; empty for Unix sockets or after close.
  std::string peer_address() const;

 private:
  friend class HttpConnection;
  HttpConnection* connection_;  // set to null by the connection when the exchange is over
  std::function<void()> on_disconnect_;
  std::function<void()> on_drained_;
};

using HttpHandler = std::function<void(HttpRequest&&, std::shared_ptr<HttpExchange>)>;

struct HttpServerOptions {
  uint32_t header_limit_bytes = 32 * 1024;             // request line and fields; beyond it 431
  uint64_t body_limit_bytes = uint64_t{64} << 20;      // beyond it 413
  uint64_t receiving_limit_bytes = uint64_t{1} << 30;  // of all bodies that are being received; beyond it 503
  uint32_t connections_max = 16 * 1024;                // beyond it 503 and close
  Duration idle_timeout = seconds(75);                 // between requests
  Duration header_timeout = seconds(10);               // from the first byte of a request to the end of its header
  Duration body_timeout = seconds(30);                 // without any byte of the body
  Duration write_timeout = seconds(30);                // without the client taking any byte of the answer
};

class HttpServer {
 public:
  /// Serves an already listening socket (made here by listen_tcp, or adopted from another process). Several loops may
  /// serve the same socket, each with its own duplicate.
  static Result<std::unique_ptr<HttpServer>> start(EventLoop& loop, UniqueFd listening, HttpServerOptions options,
                                                   HttpHandler handler);
  /// Closes all connections; exchanges that are still held become closed ones.
  ~HttpServer();

  /// Stops accepting, closes idle connections, lets requests that are being answered finish (`Connection: close`),
  /// then calls `drained` on the loop. Cap the wait with a timer and destroy the server.
  void drain(std::function<void()> drained);
  size_t connections() const;

  struct State;  // private; named here for the .cpp files of net

 private:
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::net
