#include "net/http_server.hpp"

#include "net/test_http_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace hearth::net {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

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
