#include "node/supervisor_link.hpp"

#include "node/json_fields.hpp"
#include "wire/frame_writer.hpp"

#include <utility>

namespace hearth::node {

SupervisorLink::SupervisorLink(net::EventLoop& loop, std::filesystem::path socket, wire::Hello mine, Handlers handlers)
    : loop_(loop), socket_(std::move(socket)), mine_(std::move(mine)), handlers_(std::move(handlers)) {}

Result<> SupervisorLink::connect() {
  TRY(std::shared_ptr<net::ByteChannel> channel, net::ByteChannel::connect_unix(loop_, socket_));
  link_ =
      std::make_shared<WireLink>(std::move(channel), mine_,
                                 WireLink::Handlers{.on_hello = [this](const wire::Hello&) -> Result<> {
                                                      handlers_.on_greeted();
                                                      return {};
                                                    },
                                                    .on_frame = [this](const wire::Frame& frame) { on_frame(frame); },
                                                    .on_input_end = [] {},
                                                    .on_close =
                                                        [this](const Error&) {
                                                          close();
                                                          handlers_.on_lost();
                                                        }});
  return {};
}

void SupervisorLink::close() {
  if (link_ == nullptr) return;
  link_->close();
  loop_.defer([dead = std::move(link_)] {});
  link_ = nullptr;
}

void SupervisorLink::on_frame(const wire::Frame& frame) {
  if (frame.type() == wire::FrameType::results) {
    std::string out;
    wire::append_ack(out, frame.seq() + frame.header.count - 1);
    link_->write(std::move(out));
    return;
  }
  if (frame.type() != wire::FrameType::event) return;
  const nlohmann::json json = nlohmann::json::parse(frame.body, nullptr, false);
  if (text_field(json, "event") != "worker_exited") return;
  handlers_.on_worker_exited({.index = static_cast<uint32_t>(integer_field(json, "index")),
                              .code = static_cast<int>(integer_field(json, "code")),
                              .signal = static_cast<int>(integer_field(json, "signal")),
                              .forked_again = field(json, "restart_ms") != nullptr,
                              .running = ids_field(json, "running")});
}

void SupervisorLink::call(std::string_view payload) {
  if (link_ == nullptr) return;
  wire::RequestBatchWriter writer;
  const wire::Added added = writer.add({.id = next_id_++, .kind = wire::RequestKind::call}, payload);
  CHECK_PROMISE(added == wire::Added::yes);
  std::string out;
  writer.write(out, 0);
  link_->write(std::move(out));
}

void SupervisorLink::interrupt(uint32_t index, uint64_t request, milliseconds kill_after) {
  call(nlohmann::json{{"method", "interrupt"},
                      {"params", {{"index", index}, {"request", request}, {"kill_after_ms", kill_after.count()}}}}
           .dump());
}

void SupervisorLink::restart(uint32_t index) {
  call(nlohmann::json{{"method", "restart"}, {"params", {{"index", index}}}}.dump());
}

void SupervisorLink::stop() {
  call(R"({"method":"stop","params":{}})");
}

}  // namespace hearth::node
