// Private to net: one client's connection and the server it belongs to.
#pragma once

#include "net/http_parser.hpp"
#include "net/http_server.hpp"
#include "net/output_queue.hpp"
#include "net/socket_address.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace hearth::net {

struct HttpServer::State {
  EventLoop& loop;
  UniqueFd listening;
  HttpServerOptions options;
  HttpHandler handler;
  Watch watch;
  Timer sweep_timer;
  Timer accept_retry;
  std::unordered_map<HttpConnection*, std::shared_ptr<HttpConnection>> connections;
  std::function<void()> drained;
  bool draining = false;
  std::string date;  // "Date: …\r\n", made once a second
  MonoTime date_until;
  size_t receiving_bytes = 0;  // bodies of which a part has arrived

  State(EventLoop& l, UniqueFd fd, HttpServerOptions o, HttpHandler h);
  void accept_some();
  void accept_one(UniqueFd fd, const SocketAddress& peer);
  void sweep();
  void remove(HttpConnection* connection);
  std::string_view date_line();
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(HttpServer::State& server, UniqueFd fd, const SocketAddress& peer);
  ~HttpConnection();
  void start();

  /// Called by the exchange.
  void respond(HttpResponse response);
  void start_stream(const HttpResponse& head);
  void write_piece(std::string_view piece);
  void finish_stream();
  void abandoned();  // the handler dropped the exchange without an answer
  void queue_flush();
  size_t pending_bytes() const { return out_.size(); }
  std::string peer_address() const { return peer_.to_string(); }

  /// Called by the server.
  void drain();
  bool is_overdue(MonoTime now) const { return deadline_ && now >= *deadline_; }
  void on_overdue();
  /// Ends everything at once. The exchange, if any, is told that its client has gone.
  void drop();

 private:
  // reading: waits for a request or takes it in · handling: the handler has it · streaming: a chunked answer is being
  // written · closing: answered for the last time, to be flushed · lingering: waits for the client to read and close.
  enum class Phase { reading, handling, streaming, closing, lingering, closed };
  enum class Ending { keep_alive, close, linger };

  void on_ready(Readiness readiness);
  void read_some();
  void process(std::string_view bytes);
  bool process_one(std::string_view& bytes);
  void dispatch();
  void count_body(size_t bytes);
  void refuse(HttpResponse response);
  void decide_ending();
  void append_head(const HttpResponse& response, std::optional<size_t> length);
  void end_response();
  void flush();
  bool wants_input() const;
  void update_watch();
  void update_deadline();
  void linger();

  HttpServer::State& server_;
  UniqueFd fd_;
  SocketAddress peer_;
  Watch watch_;
  HttpParser parser_;
  HttpExchange* exchange_ = nullptr;
  OutputQueue out_;
  std::string input_;         // received, not yet parsed
  size_t counted_bytes_ = 0;  // our part of the server's receiving_bytes
  std::optional<MonoTime> deadline_;
  std::optional<MonoTime> header_deadline_;
  Phase phase_ = Phase::reading;
  Ending ending_ = Ending::keep_alive;
  bool http_1_0_ = false;
  bool head_request_ = false;
  bool continue_sent_ = false;
  bool processing_ = false;
  bool peer_finished_ = false;  // it sends no more, and still reads
  bool flush_queued_ = false;
  bool blocked_ = false;  // the client does not take our bytes for now
};

}  // namespace hearth::net
