#include "net/http_server.hpp"

#include "net/listen.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <deque>
#include <string>
#include <vector>

namespace hearth::net {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// A client that speaks in bytes.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  void send(std::string_view bytes) { ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// As much as the kernel takes now.
  size_t send_some(std::string_view bytes) {
    ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? static_cast<size_t>(sent) : 0;
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }

  /// Reads what is there.
  void poll() {
    char buffer[65536];
    ssize_t got = 0;
    while ((got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
      text.append(buffer, static_cast<size_t>(got));
    if (got == 0) at_end = true;
    if (got < 0 && errno != EAGAIN) at_end = broken = true;
  }

  std::string text;  // all that came
  bool at_end = false;
  bool broken = false;

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  struct Call {
    HttpRequest request;
    std::shared_ptr<HttpExchange> exchange;
  };

  void serve(HttpServerOptions options = {}) {
    auto listening = listen_tcp("127.0.0.1:0");
    ASSERT_TRUE(listening) << listening.error().message;
    std::string address = local_address(listening->get()).value();
    port_ = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    auto handler = [this](HttpRequest&& request, std::shared_ptr<HttpExchange> exchange) {
      seen_.push_back(request.method + " " + request.target + " " + request.body);
      if (request.path() == "/hold") return calls_.push_back({std::move(request), std::move(exchange)});
      if (request.path() == "/drop") return;
      exchange->respond({.body = "{\"path\":" + json_quote(request.target) + "}"});
    };
    auto server = HttpServer::start(loop_, std::move(*listening), options, handler);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  bool until(Client& client, const std::function<bool()>& done) {
    return loop_.run_until([&client, &done] {
      client.poll();
      return done();
    });
  }
  bool until_text(Client& client, std::string_view end) {
    return until(client, [&client, end] { return client.text.ends_with(end); });
  }
  bool until_end(Client& client) {
    return until(client, [&client] { return client.at_end; });
  }
  bool until_held(size_t calls) {
    return loop_.run_until([this, calls] { return calls_.size() >= calls; });
  }
  void turn() {
    loop_.run_until([] { return false; }, milliseconds(3));
  }

  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
  std::vector<std::string> seen_;
  std::deque<Call> calls_;  // requests to /hold
};

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kHold = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(HttpServerTest, AnswersWithLengthTypeAndDate) {
  serve();
  Client client(port_);
  client.send(kGet);
  ASSERT_TRUE(until_text(client, "{\"path\":\"/a\"}"));
  EXPECT_THAT(client.text,
              AllOf(StartsWith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"),
                    HasSubstr("\r\nDate: "), Not(HasSubstr("Connection:"))));
}

TEST_F(HttpServerTest, KeepsTheConnectionForTheNextRequest) {
  serve();
  Client client(port_);
  client.send(kGet);
  ASSERT_TRUE(until_text(client, "\"/a\"}"));
  client.send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_TRUE(until_text(client, "\"/b\"}"));
  EXPECT_THAT(seen_, ElementsAre("GET /a ", "POST /b abc"));
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  serve();
  Client client(port_);
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
      "GET /3 HTTP/1.1\r\nHost: x\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(until_held(1));
  turn();
  EXPECT_EQ(seen_.size(), 2u);  // the third waits for the answer of the second
  calls_[0].exchange->respond({.body = "held"});
  ASSERT_TRUE(until_end(client));
  EXPECT_EQ(count(client.text, "HTTP/1.1 200"), 4u);
  EXPECT_LT(client.text.find("held"), client.text.find("\"/3\""));
  EXPECT_LT(client.text.find("\"/1\""), client.text.find("held"));
  EXPECT_LT(client.text.find("\"/3\""), client.text.find("\"/4\""));
}

TEST_F(HttpServerTest, TakesRequestsThatArriveByteByByte) {
  serve();
  Client client(port_);
  std::string request =
      "\r\nPOST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: ignored\r\n\r\n"
      "POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (char byte : request) {
    client.send({&byte, 1});
    loop_.run_until([&client] { return client.poll(), false; }, microseconds(1));
  }
  ASSERT_TRUE(until_text(client, "\"/d\"}"));
  EXPECT_THAT(seen_, ElementsAre("POST /c hello world", "POST /d "));
}

TEST_F(HttpServerTest, TrailersAreNoHeaderFields) {
  serve();
  Client client(port_);
  client.send("POST /hold HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Workspace: stolen\r\n\r\n");
  ASSERT_TRUE(until_held(1));
  EXPECT_EQ(calls_[0].request.headers.find("X-Workspace"), std::nullopt);
  EXPECT_EQ(calls_[0].request.headers.find("host"), "x");
  EXPECT_THAT(calls_[0].exchange->peer_address(), StartsWith("127.0.0.1:"));
}

TEST_F(HttpServerTest, ClosesWhenAskedTo) {
  serve();
  Client client(port_);
  client.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, AllOf(HasSubstr("Connection: close\r\n"), EndsWith("\"/a\"}")));
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  serve();
  Client closing(port_);
  closing.send("GET /a HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(until_end(closing));
  EXPECT_THAT(closing.text, EndsWith("\"/a\"}"));

  Client keeping(port_);
  keeping.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(until_text(keeping, "\"/a\"}"));
  EXPECT_THAT(keeping.text, HasSubstr("Connection: keep-alive\r\n"));
  keeping.send("GET /b HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(until_end(keeping));
}

TEST_F(HttpServerTest, AClientThatFinishedSendingStillGetsItsAnswers) {
  serve();
  Client client(port_);
  client.send(kGet);
  client.finish_sending();
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, EndsWith("\"/a\"}"));
}

TEST_F(HttpServerTest, HeadAnd204HaveNoBody) {
  serve();
  Client client(port_);
  client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(until_text(client, "\r\n\r\n"));
  EXPECT_THAT(client.text, HasSubstr("Content-Length: 13\r\n"));
  client.text.clear();
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  calls_[0].exchange->respond({.status = 204, .body = "must not appear"});
  ASSERT_TRUE(until_text(client, "\r\n\r\n"));
  EXPECT_THAT(client.text, AllOf(StartsWith("HTTP/1.1 204"), Not(HasSubstr("Content-Length"))));
}

TEST_F(HttpServerTest, InvitesTheBodyOfAnExpectantClient) {
  serve();
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  ASSERT_TRUE(until_text(client, "HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("body");
  ASSERT_TRUE(until_text(client, "\"/a\"}"));
  EXPECT_THAT(seen_, ElementsAre("POST /a body"));
}

TEST_F(HttpServerTest, RefusesABodyOverTheLimitBeforeItComes) {
  serve({.body_limit_bytes = 10});
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
  ASSERT_TRUE(until_text(client, "{\"error\":\"the body is larger than 10 bytes\"}"));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 413 Content Too Large\r\n"));
  ASSERT_TRUE(until_end(client));
  EXPECT_TRUE(seen_.empty());
}

TEST_F(HttpServerTest, AClientThatSendsABodyOverTheLimitAnywayReadsTheAnswer) {
  serve({.body_limit_bytes = 1000});
  for (std::string_view head : {"Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4C4B40\r\n"}) {
    Client client(port_);
    client.send("POST /a HTTP/1.1\r\nHost: x\r\n" + std::string(head));
    std::string body(5'000'000, 'x');
    size_t sent = 0;
    ASSERT_TRUE(until(client, [&client, &body, &sent] {
      sent += client.send_some(std::string_view(body).substr(sent));
      return client.at_end || sent == body.size();
    }));
    client.finish_sending();
    ASSERT_TRUE(until_end(client));
    EXPECT_FALSE(client.broken);
    EXPECT_THAT(client.text, StartsWith("HTTP/1.1 413"));
  }
}

TEST_F(HttpServerTest, AnExactlyFullBodyIsTaken) {
  serve({.body_limit_bytes = 10});
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789");
  ASSERT_TRUE(until_text(client, "\"/a\"}"));
}

struct Malformed {
  const char* name;
  int status;
  std::string bytes;
};

class MalformedRequest : public HttpServerTest, public testing::WithParamInterface<Malformed> {};

TEST_P(MalformedRequest, IsRefusedAsJsonAndTheConnectionEnds) {
  serve({.header_limit_bytes = 4096});
  Client client(port_);
  client.send(GetParam().bytes);
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 " + std::to_string(GetParam().status)));
  EXPECT_THAT(client.text, AllOf(HasSubstr("{\"error\":\""), HasSubstr("Connection: close")));
  EXPECT_EQ(count(client.text, "HTTP/1.1 "), 1u);
  EXPECT_TRUE(seen_.empty());
}

std::string post(std::string_view fields) {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n";
}

INSTANTIATE_TEST_SUITE_P(
    Http, MalformedRequest,
    testing::Values(
        Malformed{"Garbage", 400, "\x16\x03\x01\x02 TLS here\r\n\r\n"},
        Malformed{"NoVersion", 400, "GET /\r\n\r\n"},  //
        Malformed{"Http2Preface", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        Malformed{"UnknownVersion", 400, "GET / HTTP/1.7\r\nHost: x\r\n\r\n"},
        Malformed{"NoHost", 400, "GET / HTTP/1.1\r\n\r\n"},
        Malformed{"TwoHosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        Malformed{"SpaceBeforeColon", 400, post("Content-Length : 3\r\n")},
        Malformed{"NulInField", 400, post(std::string_view("X: a\0b\r\n", 8))},
        Malformed{"BareLineFeed", 400, "GET / HTTP/1.1\nHost: x\n\n\r\n\r\n"},
        Malformed{"ControlInTarget", 400, "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"},
        Malformed{"SpaceInTarget", 400, "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"},
        Malformed{"NegativeLength", 400, post("Content-Length: -1\r\n")},
        Malformed{"PlusLength", 400, post("Content-Length: +1\r\n")},
        Malformed{"HexLength", 400, post("Content-Length: 0x10\r\n")},
        Malformed{"HugeLength", 400, post("Content-Length: 99999999999999999999999\r\n")},
        Malformed{"LargeLength", 413, post("Content-Length: 18446744073709551615\r\n")},
        Malformed{"TwoLengths", 400, post("Content-Length: 1\r\nContent-Length: 2\r\n")},
        Malformed{"LengthAndChunked", 400, post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")},
        Malformed{"ChunkedAndLength", 400, post("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")},
        Malformed{"Gzip", 501, post("Transfer-Encoding: gzip, chunked\r\n")},
        Malformed{"ChunkedNotLast", 501, post("Transfer-Encoding: chunked, identity\r\n")},
        Malformed{"ChunkedTwice", 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
        Malformed{"ChunkedInHttp10", 501, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        Malformed{"BadChunkSize", 400, post("Transfer-Encoding: chunked\r\n") + "xyz\r\n"},
        Malformed{"EmptyChunkSize", 400, post("Transfer-Encoding: chunked\r\n") + "\r\n\r\n"},
        Malformed{"HugeChunk", 413, post("Transfer-Encoding: chunked\r\n") + "ffffffffffffffff\r\n"},
        Malformed{"OverflowingChunk", 400, post("Transfer-Encoding: chunked\r\n") + "fffffffffffffffff\r\n"},
        Malformed{"ChunkWithoutEnd", 400, post("Transfer-Encoding: chunked\r\n") + "1\r\nabcdef\r\n"},
        Malformed{"EndlessChunkExtension", 400, post("Transfer-Encoding: chunked\r\n") + "1;" + std::string(9000, 'x')},
        Malformed{"EndlessTrailer", 400, post("Transfer-Encoding: chunked\r\n") + "0\r\nX: " + std::string(9000, 'x')},
        Malformed{"EndlessRequestLine", 431, "GET /" + std::string(9000, 'x')},
        Malformed{"LargeHeader", 431, post("X: " + std::string(9000, 'x') + "\r\n")},
        Malformed{"ManyFields", 431,
                  [] {
                    std::string fields;
                    for (int i = 0; i < 200; ++i) fields += "A: b\r\n";
                    return post(fields);
                  }()}),
    [](const testing::TestParamInfo<Malformed>& info) { return info.param.name; });

TEST_F(HttpServerTest, TellsTheHandlerThatItsClientHasGone) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  int disconnects = 0;
  HttpExchange& exchange = *calls_[0].exchange;
  exchange.on_disconnect([&disconnects] { ++disconnects; });
  turn();
  EXPECT_EQ(disconnects, 0);
  client.close();
  ASSERT_TRUE(loop_.run_until([&disconnects] { return disconnects > 0; }));
  EXPECT_TRUE(exchange.is_closed());
  EXPECT_EQ(exchange.peer_address(), "");
  exchange.respond({.body = "nobody reads this"});
  exchange.write("nor this");
  turn();
  EXPECT_EQ(disconnects, 1);
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(HttpServerTest, NoticesADisconnectBehindALotOfPipelinedData) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  bool gone = false;
  calls_[0].exchange->on_disconnect([&gone] { gone = true; });
  client.send_some(std::string(100'000, 'x'));  // more than is taken in
  turn();
  client.send_some(std::string(10'000, 'x'));
  turn();
  client.close();
  EXPECT_TRUE(loop_.run_until([&gone] { return gone; }));
}

TEST_F(HttpServerTest, ADroppedExchangeAnswers500) {
  serve();
  Client client(port_);
  client.send("GET /drop HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(until_text(client, "}"));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 500"));
}

TEST_F(HttpServerTest, AHeaderValueCannotAddFields) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  calls_[0].exchange->respond({.body = "ok", .headers = {{"X-Good", "yes"}, {"X-Bad", "a\r\nSet-Cookie: stolen"}}});
  ASSERT_TRUE(until_text(client, "ok"));
  EXPECT_THAT(client.text, AllOf(HasSubstr("X-Good: yes\r\n"), Not(HasSubstr("Set-Cookie"))));
}

TEST_F(HttpServerTest, RefusesAHeaderThatNeverEnds) {
  serve({.header_timeout = milliseconds(8)});
  Client client(port_);
  client.send("GET /a HTTP/1.1\r\nHost:");
  ASSERT_TRUE(until(client, [&client] {
    if (!client.at_end) client.send_some("x");  // a slow loris: a byte now and then does not keep it alive
    return client.at_end;
  }));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpServerTest, RefusesABodyThatStalls) {
  serve({.body_timeout = milliseconds(8)});
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpServerTest, ClosesIdleConnectionsSilently) {
  serve({.idle_timeout = milliseconds(8)});
  Client fresh(port_);
  ASSERT_TRUE(until_end(fresh));
  EXPECT_EQ(fresh.text, "");
  Client used(port_);
  used.send(kGet);
  ASSERT_TRUE(until_end(used));
  EXPECT_THAT(used.text, EndsWith("\"/a\"}"));
}

TEST_F(HttpServerTest, AHandlerMayTakeItsTime) {
  HttpServerOptions options;
  options.idle_timeout = options.header_timeout = options.body_timeout = options.write_timeout = milliseconds(4);
  serve(options);
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  loop_.run_until([] { return false; }, milliseconds(20));
  calls_[0].exchange->respond({.body = "late"});
  ASSERT_TRUE(until_text(client, "late"));
}

TEST_F(HttpServerTest, GivesUpAClientThatDoesNotRead) {
  serve({.write_timeout = milliseconds(8)});
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  calls_[0].exchange->respond({.body = std::string(64 << 20, 'x')});
  EXPECT_TRUE(loop_.run_until([this] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, SendsLargeAnswersWhole) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  std::string body;
  for (int i = 0; body.size() < 8 << 20; ++i) body += std::to_string(i) + ",";
  calls_[0].exchange->respond({.body = body});
  ASSERT_TRUE(until(client, [&client, &body] { return client.text.size() > body.size(); }));
  EXPECT_TRUE(client.text.ends_with(body));
}

TEST_F(HttpServerTest, TurnsAwayConnectionsAboveTheLimit) {
  serve({.connections_max = 1});
  Client first(port_);
  first.send(kGet);
  ASSERT_TRUE(until_text(first, "}"));
  Client second(port_);
  ASSERT_TRUE(until_end(second));
  EXPECT_THAT(second.text, AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Content-Length: 32"),
                                 EndsWith("{\"error\":\"too many connections\"}")));
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(HttpServerTest, StreamsPiecesAsTheyAreWritten) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  HttpExchange& exchange = *calls_[0].exchange;
  exchange.start_stream({.body = "{\"n\":0}\n", .content_type = "application/x-ndjson"});
  ASSERT_TRUE(until_text(client, "8\r\n{\"n\":0}\n\r\n"));
  EXPECT_THAT(client.text, HasSubstr("Transfer-Encoding: chunked\r\n"));
  exchange.write("");  // does not end the stream
  exchange.write("{\"n\":1}\n");
  ASSERT_TRUE(until_text(client, "8\r\n{\"n\":1}\n\r\n"));
  exchange.finish();
  ASSERT_TRUE(until_text(client, "0\r\n\r\n"));
  EXPECT_TRUE(exchange.is_closed());
  client.send(kGet);
  ASSERT_TRUE(until_text(client, "\"/a\"}"));
}

TEST_F(HttpServerTest, StreamsToHttp10UntilTheEndOfTheConnection) {
  serve();
  Client client(port_);
  client.send("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(until_held(1));
  calls_[0].exchange->start_stream({.body = "a"});
  calls_[0].exchange->write("b");
  calls_[0].exchange->finish();
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, AllOf(EndsWith("\r\n\r\nab"), HasSubstr("Connection: close"), Not(HasSubstr("chunked"))));
}

TEST_F(HttpServerTest, AStreamSlowsDownForItsReader) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  HttpExchange& exchange = *calls_[0].exchange;
  exchange.start_stream({});
  std::string piece(1 << 20, 'x');
  for (int i = 0; i < 64 && exchange.pending_bytes() < piece.size(); ++i) {
    exchange.write(piece);
    turn();
  }
  ASSERT_GT(exchange.pending_bytes(), 0u);
  bool drained = false;
  exchange.on_drained([&drained] { drained = true; });
  turn();
  EXPECT_FALSE(drained);
  EXPECT_TRUE(until(client, [&drained] { return drained; }));
  EXPECT_EQ(exchange.pending_bytes(), 0u);
}

TEST_F(HttpServerTest, AStreamThatIsDroppedLooksIncomplete) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  calls_[0].exchange->start_stream({.body = "part"});
  ASSERT_TRUE(until_text(client, "part\r\n"));
  calls_.clear();
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, Not(EndsWith("0\r\n\r\n")));
}

TEST_F(HttpServerTest, DrainsGracefully) {
  serve();
  Client idle(port_);
  idle.send(kGet);
  ASSERT_TRUE(until_text(idle, "}"));
  Client busy(port_);
  busy.send(kHold);
  ASSERT_TRUE(until_held(1));
  bool drained = false;
  server_->drain([&drained] { drained = true; });
  ASSERT_TRUE(until_end(idle));
  EXPECT_FALSE(Client(port_).connected());
  turn();
  EXPECT_FALSE(drained);
  calls_[0].exchange->respond({.body = "done"});
  ASSERT_TRUE(until_end(busy));
  EXPECT_THAT(busy.text, AllOf(HasSubstr("Connection: close"), EndsWith("done")));
  EXPECT_TRUE(loop_.run_until([&drained] { return drained; }));
}

TEST_F(HttpServerTest, ExchangesOutliveTheServer) {
  serve();
  Client client(port_);
  client.send(kHold);
  ASSERT_TRUE(until_held(1));
  bool gone = false;
  calls_[0].exchange->on_disconnect([&gone] { gone = true; });
  server_.reset();
  EXPECT_TRUE(gone);
  calls_[0].exchange->respond({});
  ASSERT_TRUE(until_end(client));
}

TEST_F(HttpServerTest, RefusesADescriptorThatDoesNotListen) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(HttpServer::start(loop_, std::move(fd), {}, nullptr));
  EXPECT_FALSE(HttpServer::start(loop_, UniqueFd(), {}, nullptr));
}

}  // namespace
}  // namespace hearth::net
