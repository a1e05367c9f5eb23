// What a node gives to others, and to whom.
#include "mount/peer_server.hpp"

#include "blob/http_client.hpp"
#include "mount/testing/peer_fixture.hpp"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>

namespace hearth::mount {
namespace {

using testing::kSecret;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::PeerFixture;

class PeerServerTest : public PeerFixture {
 protected:
  blob::HttpReply ask(std::string_view path, const std::string& body, const PeerSecret& secret = PeerSecret(kSecret)) {
    blob::HttpRequest request;
    request.method = "POST";
    request.url = "http://" + server->address() + std::string(path);
    request.headers = {std::string(kPeerProofHeader) + ": " + secret.prove(path, body, wall_now())};
    request.body = blob::HttpBody{.bytes = body};
    return must(client.exchange(request));
  }
  PeerHas has(const Digest& pack) {
    const auto reply = ask(kPeerHavePath, encode_have(std::vector{pack}));
    return must(decode_have_answer(reply.body, 1)).packs[0];
  }
  PeerReadQuestion question_for(const PackChunk& chunk) const {
    return {.pack = index->pack(0).digest, .pieces = {{chunk.plain_offset, chunk.length}}};
  }
  std::vector<PackChunk> chunks_of_first() const {
    return first_layer->pack(0)->chunks({0, first_layer->pack(0)->plain_size()});
  }

  blob::HttpClient client{{.direct = true}};
};

TEST_F(PeerServerTest, WhatWasVerifiedIsGiven) {
  start_nodes(mixed_files());
  fill_first();
  serve_first();
  EXPECT_NE(has(index->pack(0).digest), PeerHas::none);
  EXPECT_EQ(has(Digest::of("another")), PeerHas::none);
  PeerReadQuestion question{.pack = index->pack(0).digest, .pieces = {}};
  std::string right;
  for (const auto& chunk : chunks_of_first()) {
    if (question.bytes() + chunk.length > kPeerReadBytesMax) break;
    question.pieces.push_back({chunk.plain_offset, chunk.length});
    right += testing::plain_bytes(layers, *index, chunk.number);
  }
  const auto reply = ask(kPeerReadPath, encode(question));
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body == right);
}

TEST_F(PeerServerTest, WhatIsNotVerifiedIsNotGiven) {
  start_nodes(mixed_files());
  open_first_layer();
  serve_first();
  const auto all = chunks_of_first();
  EXPECT_EQ(has(index->pack(0).digest), PeerHas::none);
  EXPECT_EQ(ask(kPeerReadPath, encode(question_for(all[0]))).status, 404);
  must(first_layer->pack(0)->store(all[0].plain_offset, testing::plain_bytes(layers, *index, all[0].number)));
  EXPECT_EQ(has(index->pack(0).digest), PeerHas::part);
  EXPECT_EQ(ask(kPeerReadPath, encode(question_for(all[0]))).status, 200);
  EXPECT_EQ(ask(kPeerReadPath, encode(question_for(all[1]))).status, 404);
  auto both = question_for(all[0]);
  both.pieces.push_back({all[1].plain_offset, all[1].length});
  EXPECT_EQ(ask(kPeerReadPath, encode(both)).status, 404);
}

TEST_F(PeerServerTest, PacksThatNoLayerUsesAreGivenAsWellButNotThoseOfAnEarlierEpoch) {
  start_nodes(mixed_files());
  fill_first();
  const auto chunk = chunks_of_first().front();
  first_layer.reset();
  serve_first();
  EXPECT_NE(has(index->pack(0).digest), PeerHas::none);
  EXPECT_EQ(ask(kPeerReadPath, encode(question_for(chunk))).body, testing::plain_bytes(layers, *index, chunk.number));
  server.reset();
  first_cache.reset();
  open_first("simulated boot 2 of the first node");
  serve_first();
  EXPECT_EQ(has(index->pack(0).digest), PeerHas::none);
  EXPECT_EQ(ask(kPeerReadPath, encode(question_for(chunk))).status, 404);
}

TEST_F(PeerServerTest, WhoHasNotTheSecretGetsTheSameAnswerToEverything) {
  start_nodes(mixed_files());
  fill_first();
  serve_first();
  const auto read = encode(question_for(chunks_of_first().front()));
  const auto have = encode_have(std::vector{index->pack(0).digest});
  const PeerSecret wrong("another secret!!");
  for (const auto& [path, body] : std::vector<std::pair<std::string_view, std::string>>{
           {kPeerReadPath, read}, {kPeerHavePath, have}, {"/", ""}, {kPeerReadPath, "nonsense"}}) {
    const auto reply = ask(path, body, wrong);
    EXPECT_EQ(reply.status, 403) << path;
    EXPECT_EQ(reply.body, "") << path;
  }
  blob::HttpRequest request;
  request.url = "http://" + server->address() + std::string(kPeerReadPath);
  EXPECT_EQ(must(client.exchange(request)).status, 403);
  EXPECT_EQ(refused("forbidden"), 5u);
}

TEST_F(PeerServerTest, NonsenseIsRefused) {
  start_nodes(mixed_files());
  serve_first();
  EXPECT_EQ(ask(kPeerReadPath, "nonsense").status, 400);
  EXPECT_EQ(ask(kPeerHavePath, "nonsense").status, 400);
  EXPECT_EQ(ask("/other", "").status, 404);
  EXPECT_EQ(ask(kPeerReadPath, std::string(kPeerQuestionBytesMax + 1, 'x')).status, 413);
}

TEST_F(PeerServerTest, WhileItsOwnReadersWaitOthersAreSentAway) {
  std::atomic<bool> readers_wait{true};
  start_nodes(mixed_files());
  fill_first();
  serve_first({.listen = "127.0.0.1:0",
               .secret = PeerSecret(kSecret),
               .is_busy = [&readers_wait] { return readers_wait.load(); },
               .answers_max_busy = 0});
  const auto question = encode(question_for(chunks_of_first().front()));
  EXPECT_EQ(ask(kPeerReadPath, question).status, 503);
  EXPECT_EQ(refused("busy"), 1u);
  readers_wait = false;
  EXPECT_EQ(ask(kPeerReadPath, question).status, 200);
}

/// Sends the question, and reads nothing of the answer.
UniqueFd ask_and_do_not_read(const std::string& address, const std::string& body) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int small = 4096;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return {};
  const std::string head = "POST " + std::string(kPeerReadPath) + " HTTP/1.1\r\nHost: x\r\n" +
                           std::string(kPeerProofHeader) + ": " +
                           PeerSecret(kSecret).prove(kPeerReadPath, body, wall_now()) +
                           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  must(write_all(fd.get(), head, "a question"));
  return fd;
}

TEST_F(PeerServerTest, WhoDoesNotTakeHisAnswerLosesHisPlace) {
  start_nodes({{"large", noise(8 * 1024 * 1024, 1)}});
  fill_first();
  serve_first(
      {.listen = "127.0.0.1:0", .secret = PeerSecret(kSecret), .answers_max = 1, .answer_time = milliseconds(300)});
  PeerReadQuestion large{.pack = index->pack(0).digest, .pieces = {}};
  for (const auto& chunk : chunks_of_first()) large.pieces.push_back({chunk.plain_offset, chunk.length});
  const auto small = encode(question_for(chunks_of_first().front()));
  const UniqueFd stuck = ask_and_do_not_read(server->address(), encode(large));
  ASSERT_TRUE(stuck);
  eventually([&] { return ask(kPeerReadPath, small).status == 503; });
  eventually([&] { return ask(kPeerReadPath, small).status == 200; });
}

TEST_F(PeerServerTest, AnAddressThatCannotBeServedIsAnError) {
  start_nodes(mixed_files());
  EXPECT_FALSE(PeerServer::start({.listen = "nowhere", .secret = PeerSecret(kSecret)}, first_cache).has_value());
}

}  // namespace
}  // namespace hearth::mount
