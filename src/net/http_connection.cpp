#include "net/http_connection.hpp"

#include <errno.h>
#include <sys/socket.h>

#include <array>
#include <charconv>

namespace hearth::net {

namespace {

constexpr size_t kPipelinedMax = 64 * 1024;   // bytes taken in while a request is being answered
constexpr size_t kAnswersMax = 1024 * 1024;   // answers of pipelined requests that wait for the client to read
constexpr Duration kLingerTime = seconds(2);  // so that the client reads our refusal before a reset kills it

void append_number(std::string& out, size_t number, int base) {
  std::array<char, 24> digits;
  auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out.append(digits.data(), end.ptr);
}

bool has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

/// A line break in a value would let it write header fields of its own.
bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos;
}

}  // namespace

HttpConnection::HttpConnection(HttpServer::State& server, UniqueFd fd, const SocketAddress& peer)
    : server_(server),
      fd_(std::move(fd)),
      peer_(peer),
      parser_({.header_bytes = server.options.header_limit_bytes, .body_bytes = server.options.body_limit_bytes}) {}

HttpConnection::~HttpConnection() {
  if (exchange_ != nullptr) exchange_->connection_ = nullptr;
}

void HttpConnection::start() {
  watch_ = server_.loop.watch(fd_.get(), {.readable = true, .closed = true},
                              [this](Readiness readiness) { on_ready(readiness); });
  update_deadline();
}

void HttpConnection::on_ready(Readiness readiness) {
  auto keep = shared_from_this();
  if (readiness.writable) flush();
  if (phase_ == Phase::closed) return;
  if (readiness.readable && wants_input()) return read_some();
  // Gone, and what it sent before is not read while its request is being answered.
  if (readiness.closed) drop();
}

void HttpConnection::read_some() {
  std::span<char> buffer = server_.loop.scratch();
  ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (got < 0) return drop();
  if (got == 0) {
    bool answered = phase_ == Phase::reading || phase_ == Phase::closing;
    if (!answered || out_.empty()) return drop();
    // It has finished sending and still reads what it asked for.
    phase_ = Phase::closing;
    ending_ = Ending::close;
    peer_finished_ = true;
    return update_watch();
  }
  std::string_view bytes(buffer.data(), static_cast<size_t>(got));
  if (phase_ == Phase::reading && input_.empty()) return process(bytes);
  if (phase_ == Phase::closing || phase_ == Phase::lingering) return;  // discarded
  input_.append(bytes);
  if (phase_ == Phase::reading) return process(std::exchange(input_, {}));
  update_watch();
}

void HttpConnection::process(std::string_view bytes) {
  processing_ = true;
  // A client that asks and does not read must not fill our memory with answers.
  while (phase_ == Phase::reading && out_.size() < kAnswersMax && process_one(bytes)) {
  }
  if (phase_ == Phase::closed) return;
  bool stopped_early = phase_ == Phase::reading && out_.size() >= kAnswersMax;
  if (phase_ == Phase::closing || phase_ == Phase::lingering) {
    input_.clear();
  } else if (!bytes.empty()) {
    input_.assign(bytes);
  }
  update_deadline();
  if (!out_.empty() && !blocked_ && !flush_queued_) flush();
  processing_ = false;
  if (phase_ == Phase::closed) return;
  update_watch();
  if (phase_ == Phase::reading && !input_.empty() && stopped_early) queue_flush();  // goes on behind the others
}

// Parses what there is; false when more bytes are needed or the request goes on without us.
bool HttpConnection::process_one(std::string_view& bytes) {
  if (bytes.empty()) return false;
  HttpParser::Step step = parser_.parse(bytes);
  bytes.remove_prefix(step.used);
  if (step.status == HttpParser::Status::broken) {
    http_1_0_ = parser_.is_http_1_0();
    refuse(http_error(parser_.error_status(), parser_.error_message()));
    return false;
  }
  if (step.status == HttpParser::Status::need_more) {
    if (parser_.header_done() && parser_.expects_continue() && parser_.body_bytes() == 0 && !continue_sent_) {
      continue_sent_ = true;
      out_.tail().append("HTTP/1.1 100 Continue\r\n\r\n");
    }
    count_body(parser_.body_bytes());
    if (server_.receiving_bytes > server_.options.receiving_limit_bytes)
      refuse(http_error(503, "too many large requests are being received; try again later"));
    return false;
  }
  dispatch();
  return true;
}

void HttpConnection::count_body(size_t bytes) {
  server_.receiving_bytes += bytes - counted_bytes_;
  counted_bytes_ = bytes;
}

void HttpConnection::dispatch() {
  count_body(0);
  continue_sent_ = false;
  http_1_0_ = parser_.is_http_1_0();
  ending_ = parser_.keep_alive() ? Ending::keep_alive : Ending::close;
  HttpRequest request = parser_.take();
  head_request_ = request.method == "HEAD";
  phase_ = Phase::handling;
  deadline_.reset();
  auto exchange = std::make_shared<HttpExchange>(this);
  exchange_ = exchange.get();
  server_.handler(std::move(request), std::move(exchange));
}

// A request that never reaches the handler.
void HttpConnection::refuse(HttpResponse response) {
  count_body(0);
  head_request_ = false;
  ending_ = Ending::linger;
  phase_ = Phase::handling;
  respond(std::move(response));
}

void HttpConnection::respond(HttpResponse response) {
  if (phase_ != Phase::handling) return;  // a stream has begun: too late for another answer
  decide_ending();
  append_head(response, response.body.size());
  if (!head_request_ && has_body(response.status)) out_.push(std::move(response.body));
  end_response();
}

void HttpConnection::decide_ending() {
  if (server_.draining && ending_ == Ending::keep_alive) ending_ = Ending::close;
}

void HttpConnection::append_head(const HttpResponse& response, std::optional<size_t> length) {
  std::string& out = out_.tail();
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<size_t>(response.status), 10);
  out.append(" ").append(http_reason(response.status)).append("\r\n");
  if (has_body(response.status)) {
    if (!response.content_type.empty()) out.append("Content-Type: ").append(response.content_type).append("\r\n");
    if (length) {
      out.append("Content-Length: ");
      append_number(out, *length, 10);
      out.append("\r\n");
    } else if (!http_1_0_) {
      out.append("Transfer-Encoding: chunked\r\n");
    }
  }
  out.append(server_.date_line());
  for (const auto& [name, value] : response.headers)
    if (is_one_line(name) && is_one_line(value)) out.append(name).append(": ").append(value).append("\r\n");
  if (ending_ != Ending::keep_alive) {
    out.append("Connection: close\r\n");
  } else if (http_1_0_) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

void HttpConnection::start_stream(const HttpResponse& head) {
  if (phase_ != Phase::handling) return;
  decide_ending();
  if (http_1_0_) ending_ = Ending::close;  // the end of the connection is the end of the body
  append_head(head, std::nullopt);
  phase_ = Phase::streaming;
  write_piece(head.body);
  queue_flush();
}

void HttpConnection::write_piece(std::string_view piece) {
  if (phase_ != Phase::streaming || piece.empty() || head_request_) return;  // an empty chunk would end the body
  if (http_1_0_) {
    out_.push(std::string(piece));
  } else {
    std::string& out = out_.tail();
    append_number(out, piece.size(), 16);
    out.append("\r\n").append(piece).append("\r\n");
  }
  queue_flush();
}

void HttpConnection::finish_stream() {
  if (phase_ != Phase::streaming) return;
  if (!http_1_0_ && !head_request_) out_.tail().append("0\r\n\r\n");
  end_response();
}

void HttpConnection::end_response() {
  if (exchange_ != nullptr) {
    exchange_->connection_ = nullptr;
    exchange_ = nullptr;
  }
  phase_ = ending_ == Ending::keep_alive ? Phase::reading : Phase::closing;
  if (!processing_) queue_flush();
}

void HttpConnection::abandoned() {
  exchange_ = nullptr;
  if (phase_ == Phase::handling) return respond(http_error(500, "the server dropped the request without an answer"));
  drop();  // in the middle of a stream: only a broken connection can say that it is incomplete
}

void HttpConnection::queue_flush() {
  if (flush_queued_ || blocked_ || phase_ == Phase::closed) return;
  flush_queued_ = true;
  server_.loop.defer([self = shared_from_this()] {
    self->flush_queued_ = false;
    if (self->phase_ != Phase::closed) self->flush();
  });
}

void HttpConnection::flush() {
  auto keep = shared_from_this();
  OutputQueue::Sent sent = out_.send_to(fd_.get());
  if (sent == OutputQueue::Sent::broken) return drop();
  blocked_ = sent == OutputQueue::Sent::some;
  update_deadline();
  update_watch();
  if (blocked_) return;
  if (phase_ == Phase::closing) return ending_ == Ending::linger ? linger() : drop();
  if (exchange_ != nullptr && exchange_->on_drained_) std::exchange(exchange_->on_drained_, nullptr)();
  if (phase_ == Phase::reading && server_.draining && parser_.is_idle() && input_.empty()) return drop();
  if (phase_ == Phase::reading && !input_.empty() && !processing_) {
    std::string rest = std::exchange(input_, {});
    process(rest);
  }
}

bool HttpConnection::wants_input() const {
  bool is_behind = blocked_ && phase_ == Phase::reading;
  // What the parser leaves of an unfinished request is smaller than a header, so a request always fits.
  size_t limit = kPipelinedMax + server_.options.header_limit_bytes;
  return input_.size() < limit && !peer_finished_ && !is_behind;
}

void HttpConnection::update_watch() {
  if (phase_ == Phase::closed) return;
  watch_.want({.readable = wants_input(), .writable = blocked_, .closed = !peer_finished_});
}

void HttpConnection::update_deadline() {
  const HttpServerOptions& options = server_.options;
  MonoTime now = server_.loop.now();
  if (blocked_) {
    deadline_ = now + options.write_timeout;
  } else if (phase_ == Phase::handling || phase_ == Phase::streaming) {
    deadline_.reset();
  } else if (phase_ == Phase::lingering) {
    deadline_ = now + kLingerTime;
  } else if (parser_.header_done()) {
    deadline_ = now + options.body_timeout;
  } else if (!parser_.is_idle() || !input_.empty()) {
    // From the first byte on: more of them do not prolong it.
    if (!header_deadline_) header_deadline_ = now + options.header_timeout;
    deadline_ = header_deadline_;
    return;
  } else {
    deadline_ = now + options.idle_timeout;
  }
  header_deadline_.reset();
}

void HttpConnection::on_overdue() {
  bool receiving = phase_ == Phase::reading && !blocked_ && (!parser_.is_idle() || !input_.empty());
  if (!receiving) return drop();
  refuse(http_error(408, "the request did not arrive in time"));
}

void HttpConnection::linger() {
  phase_ = Phase::lingering;
  ::shutdown(fd_.get(), SHUT_WR);
  deadline_ = server_.loop.now() + kLingerTime;
}

void HttpConnection::drain() {
  if (phase_ == Phase::reading && parser_.is_idle() && input_.empty() && out_.empty()) drop();
}

void HttpConnection::drop() {
  if (phase_ == Phase::closed) return;
  auto keep = shared_from_this();
  phase_ = Phase::closed;
  watch_.cancel();
  fd_.reset();
  out_.clear();
  count_body(0);
  if (HttpExchange* exchange = std::exchange(exchange_, nullptr)) {
    exchange->connection_ = nullptr;
    exchange->on_drained_ = nullptr;
    if (exchange->on_disconnect_) std::exchange(exchange->on_disconnect_, nullptr)();
  }
  server_.remove(this);
}

}  // namespace hearth::net
