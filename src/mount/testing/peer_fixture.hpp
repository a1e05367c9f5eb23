// Two nodes that share a store: a first one whose cache has a layer already, and the one under test.
#pragma once

#include "base/file.hpp"
#include "mount/peer_server.hpp"
#include "mount/peer_tier.hpp"
#include "mount/testing/fetcher_fixture.hpp"
#include "net/event_loop.hpp"
#include "net/http_server.hpp"
#include "net/listen.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hearth::mount::testing {

inline const std::string kSecret = "sixteen letters!";

/// SIMULATED peer: a real HTTP server, whose answers the test makes.
class ScriptedPeer {
 public:
  using Exchange = std::shared_ptr<net::HttpExchange>;
  using Script = std::function<void(const net::HttpRequest&, const Exchange&)>;

  explicit ScriptedPeer(Script script) : script_(std::move(script)) {
    auto listening = must(net::listen_tcp("127.0.0.1:0"));
    address_ = must(net::local_address(listening.get()));
    server_ = must(net::HttpServer::start(loop_, std::move(listening), {},
                                          [this](net::HttpRequest&& request, const Exchange& exchange) {
                                            ++(request.target == kPeerHavePath ? have_questions_ : read_questions_);
                                            script_(request, exchange);
                                          }));
    thread_ = std::thread([this] {
      loop_.run();
      held_.clear();
      server_.reset();
    });
  }
  ~ScriptedPeer() {
    loop_.stop();
    thread_.join();
  }
  ScriptedPeer(const ScriptedPeer&) = delete;
  ScriptedPeer& operator=(const ScriptedPeer&) = delete;

  const std::string& address() const { return address_; }
  int have_questions() const { return have_questions_; }
  int read_questions() const { return read_questions_; }
  /// For scripts: never answers.
  void hold(const Exchange& exchange) { held_.push_back(exchange); }

  static void give(const Exchange& exchange, int status, std::string body) {
    exchange->respond(
        {.status = status, .body = std::move(body), .content_type = "application/octet-stream", .headers = {}});
  }
  /// Says that it has all of what it is asked about.
  static void have_all(const net::HttpRequest& request, const Exchange& exchange) {
    const auto packs = must(decode_have(request.body));
    give(exchange, 200, encode(PeerHaveAnswer{.node = 7, .packs = {packs.size(), PeerHas::all}}));
  }

 private:
  Script script_;
  std::string address_;
  std::atomic<int> have_questions_{0};
  std::atomic<int> read_questions_{0};
  std::vector<Exchange> held_;  // the loop's
  net::EventLoop loop_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
};

class PeerFixture : public FetcherFixture {
 protected:
  /// The layer is in the store; the node under test has nothing of it, and no fetcher yet.
  void start_nodes(const Files& files) {
    start(files);
    fetcher.reset();
    open_first("simulated boot of the first node");
  }
  void open_first(const std::string& simulated_boot) {
    CacheOptions options;
    options.dirs = {folder.path() / "first"};
    options.epoch = simulated_boot;
    options.min_free_bytes = 1;
    first_cache = must(DiskCache::open(options));
  }
  void open_first_layer() { first_layer = must(CachedLayer::open(*first_cache, index, "acme")); }
  /// The first node has all of the layer.
  void fill_first() {
    open_first_layer();
    Fetcher fetcher_of_first({.tiers = {store_tier.get()}});
    for (uint32_t i = 0; i < index->pack_count(); ++i) {
      const auto& file = first_layer->pack(i);
      must(fetcher_of_first.fill_and_wait({.pack = file, .offset = 0, .length = file->plain_size(), .deadline = {}}));
    }
    reads_of_first = store->read_count();
  }
  void serve_first(PeerServerOptions options = {.listen = "127.0.0.1:0", .secret = PeerSecret(kSecret)}) {
    options.metrics = &first_metrics;
    server = must(PeerServer::start(std::move(options), first_cache));
  }
  /// The node under test, with these peers before the store.
  void ask_peers(PeerTierOptions options) {
    options.store = store_tier.get();
    options.metrics = &metrics;
    tier = must(PeerTier::open(std::move(options)));
    open_fetcher({.tiers = {tier.get(), store_tier.get()}, .read_around_bytes = 0, .read_ahead_bytes = 0});
  }
  void TearDown() override {
    fetcher.reset();
    tier.reset();
    server.reset();
  }

  /// Of the node under test.
  size_t store_reads() const { return store->read_count() - reads_of_first; }
  uint64_t tier_reads(const std::string& name) {
    return metrics.counter("hearth_imagefs_fetch_reads_total", "", {{"tier", name}}).value();
  }
  uint64_t count(const std::string& name) { return metrics.counter(name, "").value(); }
  uint64_t refused(const std::string& reason) {
    return first_metrics.counter("hearth_imagefs_peer_refused_total", "", {{"reason", reason}}).value();
  }
  /// What a peer that has everything gives.
  std::string right_bytes(const PeerReadQuestion& question) const {
    std::string bytes;
    for (const auto& piece : question.pieces) {
      std::string part(piece.length, '\0');
      must(must(first_cache->view(question.pack)).read(piece.plain_offset, part.data(), part.size()));
      bytes += part;
    }
    return bytes;
  }

  MetricRegistry first_metrics;
  std::shared_ptr<DiskCache> first_cache;
  std::shared_ptr<CachedLayer> first_layer;
  size_t reads_of_first = 0;
  std::unique_ptr<PeerServer> server;
  std::unique_ptr<PeerTier> tier;
};

}  // namespace hearth::mount::testing
