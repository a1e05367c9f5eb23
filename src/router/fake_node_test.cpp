#include "router/fake_node.hpp"

#include "base/random_id.hpp"
#include "net/listen.hpp"
#include "wire/hello.hpp"

#include <utility>

namespace hearth::router {

FakeNode::FakeNode(net::EventLoop& loop, std::filesystem::path socket) : loop_(loop), socket_(std::move(socket)) {
  on_open = [this](uint32_t target, const std::string&) {
    report(target, "ready");
    credits(target, 4);
  };
  on_request = [this](const FakeRequest& request) { held.push_back(request); };
  die();
}

FakeNode::~FakeNode() = default;

void FakeNode::listen() {
  auto listening = net::listen_unix({.path = socket_});
  CHECK_PROMISE(listening.has_value());
  auto listener =
      net::StreamListener::start(loop_, std::move(*listening), [this](std::shared_ptr<net::ByteChannel> channel) {
        channel_ = std::move(channel);
        decoder_ = wire::FrameDecoder();
        channel_->start({.on_data = [this](std::string_view bytes) { receive(bytes); },
                         .on_close = [this](const Error&) { channel_.reset(); }});
        std::string bytes;
        wire::append_hello(bytes, {.role = "node", .id = "fake", .boot = boot_});
        send(std::move(bytes));
      });
  CHECK_PROMISE(listener.has_value());
  listener_ = std::move(*listener);
}

void FakeNode::drop() {
  if (channel_) std::exchange(channel_, nullptr)->close();
}

void FakeNode::go_away() {
  drop();
  listener_.reset();
}

void FakeNode::die() {
  go_away();
  kept_ = wire::KeptResults();
  running_.clear();
  held.clear();
  boot_ = random_id();
  listen();
}

void FakeNode::send(std::string bytes) {
  if (channel_) channel_->write(std::move(bytes));
}

void FakeNode::reply(uint64_t id, std::string_view value, wire::Status status, std::string_view stdout_text) {
  running_.erase(id);
  const wire::ResultEntry entry{
      .id = id, .status = status, .run_us = 1000, .cpu_us = 900, .wait_us = 10, .rss_kib = 77};
  const wire::ResultPayload payload{.value = value, .stdout_text = stdout_text};
  const uint64_t seq = kept_.keep(entry, payload);
  wire::ResultBatchWriter writer;
  writer.add(entry, payload);
  std::string bytes;
  writer.write(bytes, seq);
  send(std::move(bytes));
}

void FakeNode::progress(uint64_t id, std::string_view json) {
  std::string bytes;
  wire::append_progress(bytes, id, json);
  send(std::move(bytes));
}

void FakeNode::report(uint32_t target, std::string_view state, std::string_view more) {
  std::string bytes;
  wire::append_event(bytes, R"({"event":"target","target":)" + std::to_string(target) + R"(,"state":")" +
                                std::string(state) + "\"" + std::string(more) + "}");
  send(std::move(bytes));
}

void FakeNode::credits(uint32_t target, uint32_t limit) {
  std::string bytes;
  wire::append_credits(bytes, {{.target = target, .limit = limit}});
  send(std::move(bytes));
}

void FakeNode::receive(std::string_view bytes) {
  decoder_.feed(bytes);
  while (true) {
    const auto frame = decoder_.next();
    CHECK_PROMISE(frame.has_value());
    if (!*frame) return;
    handle(**frame);
  }
}

void FakeNode::handle(const wire::Frame& frame) {
  switch (frame.type()) {
    case wire::FrameType::open:
      last_target = static_cast<uint32_t>(frame.seq());
      opened.emplace_back(frame.body);
      on_open(last_target, opened.back());
      break;
    case wire::FrameType::requests:
      acked = std::max(acked, frame.seq());
      kept_.acknowledge(frame.seq());
      frame_sizes.push_back(frame.header.count);
      for (const wire::Request& entry : wire::Entries<wire::Request>(frame)) {
        running_.insert(entry.id);
        on_request({.id = entry.id,
                    .target = entry.target,
                    .kind = entry.kind,
                    .payload = std::string(entry.payload),
                    .deadline_ms = entry.deadline_ms});
      }
      break;
    case wire::FrameType::ack:
      acked = std::max(acked, frame.seq());
      kept_.acknowledge(frame.seq());
      break;
    case wire::FrameType::cancel:
      for (const wire::IdEntry& entry : wire::Entries<wire::IdEntry>(frame)) cancelled.push_back(entry.id);
      break;
    case wire::FrameType::attach:
      attach(frame);
      break;
    default:
      break;
  }
}

void FakeNode::attach(const wire::Frame& frame) {
  std::string bytes;
  kept_.append_after(frame.seq() > kept_.last_seq() ? 0 : frame.seq(), bytes);
  send(std::move(bytes));
  for (const wire::IdEntry& entry : wire::Entries<wire::IdEntry>(frame)) {
    attached.push_back(entry.id);
    if (!running_.contains(entry.id) && !kept_.has(entry.id)) {
      reply(entry.id, R"({"error":"never arrived"})", wire::Status::unknown);
    }
  }
}

}  // namespace hearth::router
