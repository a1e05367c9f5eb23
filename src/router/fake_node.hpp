// For tests: a node that speaks real wire over a Unix socket and does as it is told. Lives on the test's loop.
#pragma once

#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"
#include "wire/kept_results.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace hearth::router {

struct FakeRequest {
  uint64_t id = 0;
  uint32_t target = 0;
  wire::RequestKind kind = wire::RequestKind::inference;
  std::string payload;
  uint32_t deadline_ms = 0;
};

class FakeNode {
 public:
  FakeNode(net::EventLoop& loop, std::filesystem::path socket);
  ~FakeNode();

  /// Default: ready at once, with 4 credits.
  std::function<void(uint32_t target, const std::string& json)> on_open;
  /// Default: keeps it in `held`.
  std::function<void(const FakeRequest&)> on_request;

  void reply(uint64_t id, std::string_view value, wire::Status status = wire::Status::ok,
             std::string_view stdout_text = {});
  void progress(uint64_t id, std::string_view json);
  void report(uint32_t target, std::string_view state, std::string_view more = {});
  void credits(uint32_t target, uint32_t limit);

  /// The connection breaks; what the process knows stays.
  void drop();
  /// Killed: a new process answers at the same socket, which has forgotten everything.
  void die();
  /// Nobody answers at the socket (until die() starts a new one).
  void go_away();

  std::vector<FakeRequest> held;
  std::vector<uint64_t> cancelled;
  std::vector<std::string> opened;    // bodies of OPEN
  std::vector<uint32_t> frame_sizes;  // entries of each REQUESTS frame
  std::vector<uint64_t> attached;     // ids of ATTACH
  uint64_t acked = 0;
  uint32_t last_target = 0;

 private:
  void listen();
  void receive(std::string_view bytes);
  void handle(const wire::Frame& frame);
  void attach(const wire::Frame& frame);
  void send(std::string bytes);

  net::EventLoop& loop_;
  std::filesystem::path socket_;
  std::unique_ptr<net::StreamListener> listener_;
  std::shared_ptr<net::ByteChannel> channel_;
  wire::FrameDecoder decoder_;
  wire::KeptResults kept_;
  std::set<uint64_t> running_;
  std::string boot_;
};

}  // namespace hearth::router
