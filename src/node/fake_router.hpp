// For tests: the router's end of the wire, over a real socket.
#pragma once

#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"
#include "node/json_fields.hpp"
#include "node/wire_link.hpp"
#include "wire/frame_writer.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hearth::node {

struct Answer {
  wire::ResultEntry entry;
  uint64_t seq = 0;
  std::string value, stdout_text;
  wire::Status status() const { return entry.status; }
  std::string error() const { return text_field(nlohmann::json::parse(value, nullptr, false), "error"); }
  nlohmann::json json() const { return nlohmann::json::parse(value, nullptr, false); }
};

enum class Acks { at_once, never };

class FakeRouter {
 public:
  FakeRouter(net::EventLoop& loop, std::filesystem::path socket, std::string id = "router",
             std::string generation = "g1")
      : loop_(loop), socket_(std::move(socket)), id_(std::move(id)), generation_(std::move(generation)) {}

  void connect(Acks acks = Acks::at_once) {
    acks_ = acks;
    greeted_ = false;
    auto channel = net::ByteChannel::connect_unix(loop_, socket_);
    ASSERT_TRUE(channel) << channel.error().message;
    wire::Hello mine;
    mine.role = "router";
    mine.id = id_;
    mine.generation = generation_;
    link_ = std::make_shared<WireLink>(std::move(*channel), mine,
                                       WireLink::Handlers{.on_hello = [this](const wire::Hello& hello) -> Result<> {
                                                            greeted_ = true;
                                                            if (hello.boot != boot_) last_seq_ = 0;
                                                            boot_ = hello.boot;
                                                            return {};
                                                          },
                                                          .on_frame = [this](const wire::Frame& f) { on_frame(f); },
                                                          .on_input_end = [this] { on_input_end(); },
                                                          .on_close = [this](const Error&) { closed_ = true; }});
    closed_ = false;
    ASSERT_TRUE(loop_.run_until([this] { return greeted_; }));
  }
  void disconnect() {
    if (link_) link_->close();
    link_.reset();
  }
  bool closed() const { return closed_; }

  void open(uint32_t target, const std::string& model, bool start = true, uint32_t version = 1) {
    std::string out;
    wire::append_open(
        out, target,
        to_text(
            {{"workspace", "default"}, {"model", model}, {"branch", "main"}, {"version", version}, {"start", start}}));
    link_->write(std::move(out));
  }

  uint64_t send(uint32_t target, std::string_view payload, uint32_t deadline_ms = 0) {
    return send_many(target, {payload}, deadline_ms).front();
  }
  std::vector<uint64_t> send_many(uint32_t target, const std::vector<std::string_view>& payloads,
                                  uint32_t deadline_ms = 0) {
    wire::RequestBatchWriter writer;
    std::vector<uint64_t> ids;
    for (const std::string_view payload : payloads) {
      ids.push_back(next_id_++);
      EXPECT_EQ(writer.add({.id = ids.back(), .target = target, .deadline_ms = deadline_ms}, payload),
                wire::Added::yes);
    }
    std::string out;
    writer.write(out, acks_ == Acks::at_once ? last_seq_ : 0);
    link_->write(std::move(out));
    return ids;
  }
  uint64_t call(const std::string& method, const nlohmann::json& params) {
    wire::RequestBatchWriter writer;
    const uint64_t id = next_id_++;
    const std::string payload = to_text({{"method", method}, {"params", params}});
    EXPECT_EQ(writer.add({.id = id, .kind = wire::RequestKind::call}, payload), wire::Added::yes);
    std::string out;
    writer.write(out, 0);
    link_->write(std::move(out));
    return id;
  }
  void cancel(uint64_t id) {
    std::string out;
    wire::append_cancel(out, {id});
    link_->write(std::move(out));
  }
  void attach(const std::vector<uint64_t>& ids) {
    std::string out;
    wire::append_attach(out, last_seq_, ids);
    link_->write(std::move(out));
  }
  void ack() {
    std::string out;
    wire::append_ack(out, last_seq_);
    link_->write(std::move(out));
  }

  bool answered(uint64_t id) const { return answers_.contains(id); }
  /// Waits for it.
  Answer answer(uint64_t id, Duration limit = seconds(20)) {
    EXPECT_TRUE(loop_.run_until([this, id] { return answered(id); }, limit)) << "no answer to " << id;
    return answers_[id];
  }
  Answer ask(uint32_t target, std::string_view payload, uint32_t deadline_ms = 0) {
    return answer(send(target, payload, deadline_ms));
  }
  /// Waits until the target reports that state; returns its last event.
  nlohmann::json wait_for(uint32_t target, const std::string& state) {
    EXPECT_TRUE(
        loop_.run_until([this, target, &state] { return text_field(targets_[target], "state") == state; }, seconds(20)))
        << "last: " << targets_[target].dump();
    return targets_[target];
  }
  nlohmann::json target(uint32_t handle) { return targets_[handle]; }
  uint32_t credits(uint32_t handle) { return credits_[handle]; }
  int times_answered(uint64_t id) { return times_[id]; }
  void forget_answer(uint64_t id) {
    answers_.erase(id);
    times_.erase(id);
  }
  const std::vector<std::string>& progress() const { return progress_; }

 private:
  void on_frame(const wire::Frame& frame) {
    if (frame.type() == wire::FrameType::results) {
      for (const wire::ResultView& result : wire::Entries<wire::ResultView>(frame)) {
        if (result.seq <= last_seq_) continue;
        EXPECT_TRUE(last_seq_ == 0 || result.seq == last_seq_ + 1) << "a result number was left out";
        last_seq_ = result.seq;
        answers_[result.id] = {result, result.seq, std::string(result.value), std::string(result.stdout_text)};
        ++times_[result.id];
      }
      fresh_ = true;
    } else if (frame.type() == wire::FrameType::event) {
      const nlohmann::json json = nlohmann::json::parse(frame.body, nullptr, false);
      if (text_field(json, "event") == "target") targets_[static_cast<uint32_t>(integer_field(json, "target"))] = json;
    } else if (frame.type() == wire::FrameType::credits) {
      for (const wire::CreditEntry& entry : wire::Entries<wire::CreditEntry>(frame))
        credits_[entry.target] = entry.limit;
    } else if (frame.type() == wire::FrameType::progress) {
      for (const wire::Progress& news : wire::Entries<wire::Progress>(frame)) progress_.emplace_back(news.payload);
    }
  }
  void on_input_end() {
    if (std::exchange(fresh_, false) && acks_ == Acks::at_once) ack();
  }

  net::EventLoop& loop_;
  std::filesystem::path socket_;
  std::string id_, generation_, boot_;
  std::shared_ptr<WireLink> link_;
  Acks acks_ = Acks::at_once;
  bool greeted_ = false;
  bool closed_ = false;
  bool fresh_ = false;
  uint64_t next_id_ = 1'000'000;
  uint64_t last_seq_ = 0;
  std::map<uint64_t, Answer> answers_;
  std::map<uint64_t, int> times_;
  std::map<uint32_t, nlohmann::json> targets_;
  std::map<uint32_t, uint32_t> credits_;
  std::vector<std::string> progress_;
};

}  // namespace hearth::node
