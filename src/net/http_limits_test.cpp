// Hostile and careless clients: every one gets a clear answer and none costs the others.
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

class HttpLimitsTest : public HttpServerTest {};

TEST_F(HttpLimitsTest, InvitesTheBodyOfAnExpectantClient) {
  serve();
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  ASSERT_TRUE(until_text(client, "HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("body");
  ASSERT_TRUE(until_text(client, "\"/a\"}"));
  EXPECT_THAT(seen_, ElementsAre("POST /a body"));
}

TEST_F(HttpLimitsTest, RefusesABodyOverTheLimitBeforeItComes) {
  serve({.body_limit_bytes = 10});
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
  ASSERT_TRUE(until_text(client, "{\"error\":\"the body is larger than 10 bytes\"}"));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 413 Content Too Large\r\n"));
  ASSERT_TRUE(until_end(client));
  EXPECT_TRUE(seen_.empty());
}

TEST_F(HttpLimitsTest, AClientThatSendsABodyOverTheLimitAnywayReadsTheAnswer) {
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

TEST_F(HttpLimitsTest, TheMemoryOfAllUnfinishedBodiesIsBounded) {
  serve({.receiving_limit_bytes = 1000});
  std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 700\r\n\r\n";
  Client first(port_);
  first.send(head + std::string(600, 'x'));
  turn();
  Client second(port_);
  second.send(head + std::string(600, 'x'));
  ASSERT_TRUE(until_end(second));
  EXPECT_THAT(second.text, StartsWith("HTTP/1.1 503"));
  first.send(std::string(100, 'x'));
  ASSERT_TRUE(until_text(first, "\"/a\"}"));
  for (int i = 0; i < 3; ++i) {  // what was finished or refused counts no more
    Client next(port_);
    next.send(head + std::string(600, 'x'));
    turn();
    next.send(std::string(100, 'x'));
    ASSERT_TRUE(until_text(next, "\"/a\"}"));
  }
}

TEST_F(HttpLimitsTest, AnExactlyFullBodyIsTaken) {
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

class MalformedRequest : public HttpLimitsTest, public testing::WithParamInterface<Malformed> {};

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

TEST_F(HttpLimitsTest, RefusesAHeaderThatNeverEnds) {
  serve({.header_timeout = milliseconds(8)});
  Client client(port_);
  client.send("GET /a HTTP/1.1\r\nHost:");
  ASSERT_TRUE(until(client, [&client] {
    if (!client.at_end) client.send_some("x");  // a slow loris: a byte now and then does not keep it alive
    return client.at_end;
  }));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpLimitsTest, RefusesABodyThatStalls) {
  serve({.body_timeout = milliseconds(8)});
  Client client(port_);
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  ASSERT_TRUE(until_end(client));
  EXPECT_THAT(client.text, StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpLimitsTest, AClientThatAsksWithoutReadingIsNotAnsweredWithoutBound) {
  serve();
  Client client(port_);
  constexpr size_t kRequests = 300;
  std::string requests;
  for (size_t i = 0; i < kRequests; ++i) requests += "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
  client.send(requests);
  loop_.run_until([] { return false; }, milliseconds(50));
  EXPECT_LT(seen_.size(), kRequests / 2);
  size_t bytes = 0;
  ASSERT_TRUE(until(client, [this, &client, &bytes] {
    bytes += client.text.size();
    client.text.clear();
    return seen_.size() == kRequests && bytes > kRequests * 256 * 1024;
  }));
}

TEST_F(HttpLimitsTest, TurnsAwayConnectionsAboveTheLimit) {
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

}  // namespace
}  // namespace hearth::net
