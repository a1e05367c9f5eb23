// The fetcher with other nodes before the store, and what those do wrong.
#include "mount/peer_tier.hpp"

#include "mount/peer_directory.hpp"
#include "mount/testing/peer_fixture.hpp"

#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using testing::kSecret;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::PeerFixture;
using testing::ScriptedPeer;
using testing::ScriptedStore;
using Exchange = ScriptedPeer::Exchange;

/// No test waits for time to pass: what is remembered stays, and nobody is given up on for being slow.
PeerTierOptions patient(std::vector<std::string> peers) {
  PeerTierOptions options{.peers = std::move(peers), .secret = PeerSecret(kSecret)};
  options.stall_timeout = seconds(60);
  options.read_time = seconds(60);
  options.have_wait = seconds(60);
  options.first_patience = seconds(60);
  options.hedge.delay_min = seconds(60);
  options.hedge.delay_max = seconds(60);
  options.remembered = options.remembered_part = options.remembered_none = seconds(600);
  options.breaker.first_rest = options.breaker.longest_rest = seconds(600);
  return options;
}

class PeerTierTest : public PeerFixture {
 protected:
  void read_all() {
    for (uint32_t i = 0; i < index->pack_count(); ++i) must(fill(whole(i)));
    EXPECT_TRUE(all_right());
  }
  /// One after another.
  void read_chunks() {
    for (const auto& chunk : chunks()) must(fill(request(chunk)));
    EXPECT_TRUE(all_right());
  }
  /// Answers as a peer that has everything.
  void answer(const net::HttpRequest& request, const Exchange& exchange) const {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    ScriptedPeer::give(exchange, 200, right_bytes(must(decode_peer_read(request.body))));
  }
};

TEST_F(PeerTierTest, WhatAPeerHasIsNotReadFromTheStore) {
  start_nodes(mixed_files());
  fill_first();
  serve_first();
  ask_peers(patient({server->address()}));
  read_all();
  EXPECT_EQ(store_reads(), 0u);
  EXPECT_GT(tier_reads("peer"), 0u);
}

TEST_F(PeerTierTest, PrefetchComesFromPeersToo) {
  start_nodes(mixed_files());
  fill_first();
  serve_first();
  ask_peers(patient({server->address()}));
  for (uint32_t i = 0; i < index->pack_count(); ++i) must(fill(whole(i, Urgency::prefetch)));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store_reads(), 0u);
}

TEST_F(PeerTierTest, WhatNoPeerHasComesFromTheStoreAndIsAskedForOnce) {
  start_nodes(mixed_files());
  ScriptedPeer peer([](const net::HttpRequest& request, const Exchange& exchange) {
    const auto packs = must(decode_have(request.body));
    ScriptedPeer::give(exchange, 200, encode(PeerHaveAnswer{.node = 7, .packs = {packs.size(), PeerHas::none}}));
  });
  ask_peers(patient({peer.address()}));
  read_chunks();
  EXPECT_EQ(tier_reads("peer"), 0u);
  EXPECT_EQ(peer.read_questions(), 0);
  EXPECT_EQ(peer.have_questions(), static_cast<int>(index->pack_count()));
}

TEST_F(PeerTierTest, APartOfAPackComesFromAPeerAndTheRestFromTheStore) {
  start_nodes({{"a", noise(100'000, 1)}, {"b", noise(100'000, 2)}});
  open_first_layer();
  const auto had = chunks().front();
  must(first_layer->pack(0)->store(had.plain_offset, testing::plain_bytes(layers, *index, had.number)));
  serve_first();
  ask_peers(patient({server->address()}));
  read_chunks();
  EXPECT_EQ(tier_reads("peer"), 1u);
  EXPECT_EQ(store_reads(), chunks().size() - 1);
}

TEST_F(PeerTierTest, WrongBytesNeverArriveAndTheirPeerIsNotAskedForThatPackAgain) {
  start_nodes(mixed_files());
  fill_first();
  ScriptedPeer peer([this](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    auto bytes = right_bytes(must(decode_peer_read(request.body)));
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    ScriptedPeer::give(exchange, 200, std::move(bytes));
  });
  ask_peers(patient({peer.address()}));
  read_chunks();
  EXPECT_EQ(corrupt_count("peer"), 1u);
  EXPECT_EQ(corrupt_count("store"), 0u);
  EXPECT_EQ(peer.read_questions(), 1);
}

TEST_F(PeerTierTest, BytesThatRottedOnThePeersDiskNeverArrive) {
  start_nodes({{"a", noise(700'000, 1)}});
  fill_first();
  const auto chunk = chunks().front();
  char byte = 0;
  must(first_layer->pack(0)->read(chunk.plain_offset + 17, &byte, 1));
  byte = static_cast<char>(byte ^ 0x20);
  ASSERT_EQ(::pwrite(first_layer->pack(0)->data_fd(), &byte, 1, static_cast<off_t>(chunk.plain_offset + 17)), 1);
  serve_first();
  ask_peers(patient({server->address()}));
  read_chunks();
  EXPECT_EQ(corrupt_count("peer"), 1u);
}

TEST_F(PeerTierTest, TooFewBytesAreNotBelieved) {
  start_nodes(mixed_files());
  ScriptedPeer peer([](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    ScriptedPeer::give(exchange, 200, "few");
  });
  ask_peers(patient({peer.address()}));
  read_chunks();
}

TEST_F(PeerTierTest, AStuckPeerIsOvertakenByTheStoreAndThenLeftAlone) {
  start_nodes(mixed_files());
  std::atomic<ScriptedPeer*> self{nullptr};
  ScriptedPeer peer([&self](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    self.load()->hold(exchange);
  });
  self = &peer;
  auto options = patient({peer.address()});
  options.first_patience = milliseconds(1);
  options.breaker.failures = 2;
  ask_peers(std::move(options));
  read_chunks();
  EXPECT_LE(peer.read_questions(), 2) << "cancelled, some before they arrived";
  EXPECT_EQ(count("hearth_imagefs_peer_hedges_total"), 2u);
  EXPECT_EQ(count("hearth_imagefs_peer_hedges_won_total"), 2u);
  EXPECT_EQ(tier_reads("peer"), 0u);
}

TEST_F(PeerTierTest, BeyondTheHedgesThatAreAllowedASlowPeerIsGivenUpOnInTime) {
  start_nodes({{"a", noise(100'000, 1)}});
  std::atomic<ScriptedPeer*> self{nullptr};
  ScriptedPeer peer([&self](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    self.load()->hold(exchange);
  });
  self = &peer;
  auto options = patient({peer.address()});
  options.first_patience = milliseconds(1);
  options.hedge.saved_max = 0;
  options.read_time = milliseconds(50);
  ask_peers(std::move(options));
  read_chunks();
  EXPECT_EQ(count("hearth_imagefs_peer_hedges_total"), 0u);
}

TEST_F(PeerTierTest, APeerThatIsFirstAfterAllCancelsTheStore) {
  start_nodes({{"a", noise(100'000, 1)}});
  fill_first();
  testing::Latch store_is_asked;
  std::atomic<bool> held{false};
  store->before = [&](const ScriptedStore::Read&) -> Result<> {
    held = true;
    store_is_asked.pass();
    return {};
  };
  ScriptedPeer peer([&](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    store_is_asked.wait_for(1);
    answer(request, exchange);
    store_is_asked.open();
  });
  auto options = patient({peer.address()});
  options.first_patience = milliseconds(1);
  ask_peers(std::move(options));
  read_chunks();
  EXPECT_TRUE(held);
  EXPECT_EQ(count("hearth_imagefs_peer_hedges_total"), 1u);
}

TEST_F(PeerTierTest, ADeadPeerIsLeftAlone) {
  start_nodes(mixed_files());
  ScriptedPeer peer([](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerHavePath) return ScriptedPeer::have_all(request, exchange);
    ScriptedPeer::give(exchange, 500, "");
  });
  ask_peers(patient({peer.address()}));
  read_chunks();
  EXPECT_EQ(peer.read_questions(), 3);
  EXPECT_EQ(peer.have_questions(), static_cast<int>(index->pack_count()));
}

TEST_F(PeerTierTest, NobodyBehindAnAddressCostsNoRead) {
  start_nodes(mixed_files());
  std::string address;
  {
    const auto closed = must(net::listen_tcp("127.0.0.1:0"));
    address = must(net::local_address(closed.get()));
  }
  ask_peers(patient({address}));
  read_chunks();
}

TEST_F(PeerTierTest, APeerThatDiesInTheMiddleCostsNoError) {
  start_nodes(mixed_files());
  fill_first();
  serve_first();
  ask_peers(patient({server->address()}));
  const auto all = chunks();
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == all.size() / 2) server.reset();
    must(fill(request(all[i])));
  }
  EXPECT_TRUE(all_right());
  EXPECT_GT(tier_reads("peer"), 0u);
  EXPECT_GT(tier_reads("store"), 0u);
}

TEST_F(PeerTierTest, WithAnotherSecretAPeerIsOfNoUseAndNoHarm) {
  start_nodes(mixed_files());
  fill_first();
  serve_first({.listen = "127.0.0.1:0", .secret = PeerSecret("another secret!!")});
  ask_peers(patient({server->address()}));
  read_chunks();
  EXPECT_EQ(tier_reads("peer"), 0u);
  EXPECT_GT(refused("forbidden"), 0u);
}

TEST_F(PeerTierTest, ABusyPeerIsNoBrokenOne) {
  start_nodes(mixed_files());
  fill_first();
  std::atomic<int> sent_away{0};
  ScriptedPeer peer([&](const net::HttpRequest& request, const Exchange& exchange) {
    if (request.target == kPeerReadPath && ++sent_away <= 4) return ScriptedPeer::give(exchange, 503, "");
    answer(request, exchange);
  });
  ask_peers(patient({peer.address()}));
  // Each time it is let alone for a moment, and asked again.
  const auto all = chunks();
  eventually([&] {
    for (const auto& chunk : all) {
      pack(0)->distrust(chunk.pages());
      must(fill(request(chunk)));
    }
    return tier_reads("peer") > 0;
  });
  EXPECT_GT(sent_away, 4);
}

TEST_F(PeerTierTest, ANodeThatIsAmongItsOwnPeersDoesNotReadFromItself) {
  start_nodes(mixed_files());
  ScriptedPeer peer(ScriptedPeer::have_all);
  auto options = patient({peer.address()});
  options.node = 7;  // what the scripted peer answers with
  ask_peers(std::move(options));
  read_chunks();
  EXPECT_EQ(peer.read_questions(), 0);
  EXPECT_EQ(peer.have_questions(), 1);
}

TEST(PeerDirectory, OfTwoPeersTheOneWithFewerReadsUnderWayIsChosen) {
  ScriptedPeer one(ScriptedPeer::have_all);
  ScriptedPeer two(ScriptedPeer::have_all);
  blob::HttpClient client({.direct = true});
  const PeerSecret secret(kSecret);
  PeerDirectory directory({.peers = {one.address(), two.address()}, .have_wait = seconds(60)}, client, secret);
  const Digest pack = Digest::of("a pack");
  const auto first = directory.choose(pack, {});
  ASSERT_TRUE(first);
  // The other one may still be about to answer.
  for (;;) {
    const auto second = directory.choose(pack, {});
    ASSERT_TRUE(second);
    if (*second != *first) break;
    directory.report(*second, pack, PeerOutcome::nothing);
  }
  directory.report(*first, pack, PeerOutcome::gave);
  EXPECT_EQ(directory.choose(pack, {}), first);
}

TEST(PeerDirectory, QuestionsThatComeWhileAPeerIsAskedGoTogether) {
  testing::Latch latch;
  ScriptedPeer peer([&latch](const net::HttpRequest& request, const Exchange& exchange) {
    latch.pass();
    ScriptedPeer::have_all(request, exchange);
  });
  blob::HttpClient client({.direct = true});
  const PeerSecret secret(kSecret);
  PeerDirectory directory({.peers = {peer.address()}, .have_wait = milliseconds(1)}, client, secret);
  EXPECT_FALSE(directory.choose(Digest::of("0"), {})) << "a reader does not wait for ever";
  latch.wait_for(1);
  for (int i = 1; i < 50; ++i) EXPECT_FALSE(directory.choose(Digest::of(std::to_string(i)), {}));
  latch.open();
  for (int i = 0; i < 50; ++i) {
    while (!directory.choose(Digest::of(std::to_string(i)), {})) {
    }
  }
  EXPECT_EQ(peer.have_questions(), 2);
}

TEST_F(PeerTierTest, AddressesThatAreNoneAreRefused) {
  for (const auto* address : {"", "host", "host:", ":80", "host:x", "http://host:80", "host:80/path", "user@host:1"}) {
    EXPECT_FALSE(PeerTier::open({.peers = {address}, .secret = PeerSecret(kSecret)}).has_value()) << address;
  }
}

}  // namespace
}  // namespace hearth::mount
