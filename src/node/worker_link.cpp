#include "node/worker_link.hpp"

#include "base/log.hpp"
#include "node/json_fields.hpp"

#include <utility>

namespace hearth::node {

namespace {

WorkerState parse_state(const std::string& text) {
  if (text == "ready") return WorkerState::ready;
  if (text == "unready") return WorkerState::unready;
  if (text == "failed") return WorkerState::failed;
  return WorkerState::loading;
}

void take_error(const nlohmann::json& json, WorkerReport& report) {
  const nlohmann::json* error = field(json, "error");
  if (error == nullptr) return;
  report.error = error->is_string() ? error->get<std::string>() : text_field(*error, "error");
  report.detail = text_field(*error, "stack");
  const nlohmann::json* output = field(json, "output");
  if (output == nullptr) return;
  for (const char* stream : {"stdout", "stderr"}) {
    const std::string text = text_field(*output, stream);
    if (!text.empty()) report.detail += "\n" + std::string(stream) + ": " + text;
  }
}

}  // namespace

WorkerLink::WorkerLink(net::EventLoop& loop, uint32_t index, std::filesystem::path socket, wire::Hello mine)
    : loop_(loop), index_(index), socket_(std::move(socket)), mine_(std::move(mine)) {}

Result<> WorkerLink::connect() {
  TRY(std::shared_ptr<net::ByteChannel> channel, net::ByteChannel::connect_unix(loop_, socket_));
  writer_ = wire::RequestBatchWriter();
  link_ = std::make_shared<WireLink>(
      std::move(channel), mine_,
      WireLink::Handlers{.on_hello = [this](const wire::Hello& hello) { return on_hello(hello); },
                         .on_frame = [this](const wire::Frame& frame) { on_frame(frame); },
                         .on_input_end = [this] { handlers_.on_input_end(); },
                         .on_close = [this](const Error& error) { on_close(error); }});
  return {};
}

void WorkerLink::close() {
  if (link_ == nullptr) return;
  link_->close();
  loop_.defer([dead = std::move(link_)] {});  // we may be in one of its callbacks
  link_ = nullptr;
}

void WorkerLink::on_close(const Error& error) {
  log_debug("worker connection lost", {{"socket", socket_.string()}, {"reason", error.message}});
  close();
  report_.state = WorkerState::silent;
  handlers_.on_lost();
}

Result<> WorkerLink::on_hello(const wire::Hello& hello) {
  const bool first = boot_.empty();
  const bool same = hello.boot == boot_;
  boot_ = hello.boot;
  writer_ = wire::RequestBatchWriter(link_->peer_frame_limit());
  if (same) {
    handlers_.on_same_life();
  } else {
    ledger_.reset();
    acked_ = 0;
    if (!first) handlers_.on_new_life();
  }
  report_ = {};
  report_.state = parse_state(hello.state);
  take_report(hello.text);
  return {};
}

void WorkerLink::take_report(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  const std::string state = text_field(json, "state");
  if (state.empty()) return;
  report_.state = parse_state(state);
  report_.error.clear();
  take_error(json, report_);
  if (report_.state == WorkerState::failed && report_.error.empty()) report_.error = "the worker failed to load";
  if (const nlohmann::json* phases = field(json, "phases"); phases != nullptr) {
    report_.import_ms = number_field(*phases, "import_ms");
    report_.setup_ms = number_field(*phases, "setup_ms");
  }
  if (field(json, "modules") != nullptr) report_.modules = texts_field(json, "modules");
  handlers_.on_report(report_);
}

void WorkerLink::on_frame(const wire::Frame& frame) {
  switch (frame.type()) {
    case wire::FrameType::results:
      return on_results(frame);
    case wire::FrameType::event: {
      const nlohmann::json json = nlohmann::json::parse(frame.body, nullptr, false);
      if (text_field(json, "event") == "state") take_report(frame.body);
      return;
    }
    default:
      return;  // CREDITS: the node decides by run times; the rest is not for a node
  }
}

void WorkerLink::on_results(const wire::Frame& frame) {
  if (frame.header.count == 0) return;
  if (ledger_ == nullptr) {
    ledger_ = std::make_shared<AckLedger>(frame.seq());  // after adoption it does not begin at 1
    acked_ = frame.seq() - 1;
  }
  for (const wire::ResultView& result : wire::Entries<wire::ResultView>(frame)) {
    if (result.seq < ledger_->next()) continue;  // sent again after ATTACH
    if (result.seq > ledger_->next()) {
      log_error("worker skipped a result number", {{"socket", socket_.string()}, {"seq", result.seq}});
      link_->close();
      return on_close(Error{ErrorCode::corrupt, "gap in results"});
    }
    ledger_->arrived();
    handlers_.on_result(result, ResultOrigin{ledger_, result.seq});
  }
}

wire::Added WorkerLink::send(const wire::RequestEntry& entry, std::string_view payload) {
  if (writer_.add(entry, payload) == wire::Added::yes) return wire::Added::yes;
  flush();
  return writer_.add(entry, payload);
}

void WorkerLink::cancel(uint64_t id) {
  if (link_ == nullptr) return;
  std::string out;
  wire::append_cancel(out, {id});
  link_->write(std::move(out));
}

void WorkerLink::attach(const std::vector<uint64_t>& ids) {
  if (link_ == nullptr) return;
  std::string out;
  wire::append_attach(out, ledger_ ? ledger_->next() - 1 : 0, ids);
  link_->write(std::move(out));
}

void WorkerLink::flush() {
  if (writer_.empty() || link_ == nullptr) return;
  acked_ = ledger_ ? ledger_->cumulative() : 0;
  writer_.write(out_, acked_);
  link_->write(std::exchange(out_, {}));
}

void WorkerLink::flush_ack() {
  if (link_ == nullptr || ledger_ == nullptr || ledger_->cumulative() == acked_) return;
  acked_ = ledger_->cumulative();
  std::string out;
  wire::append_ack(out, acked_);
  link_->write(std::move(out));
}

}  // namespace hearth::node
