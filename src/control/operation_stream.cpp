#include "control/handlers.hpp"

namespace hearth::control {
namespace {

constexpr std::string_view kNdjson = "application/x-ndjson";
constexpr Duration kHeartbeat = seconds(15);   // an empty line, so that nobody in between takes the stream for dead
constexpr size_t kAheadMax = size_t{1} << 20;  // bytes a slow client may be behind

}  // namespace

Answer stream_operation(Control& control, CallPtr call) {
  const std::shared_ptr<Operation> operation = control.operations.find(call->arguments[0], call->caller.workspace);
  if (!operation) {
    co_return fail(ErrorCode::not_found, "no operation '" + call->arguments[0] + "'; they are kept for an hour");
  }
  net::HttpExchange& exchange = *call->exchange;
  exchange.start_stream({.content_type = kNdjson});
  size_t sent = 0;
  while (!exchange.is_closed()) {
    while (sent < operation->events().size() && exchange.pending_bytes() < kAheadMax) {
      exchange.write(operation->events()[sent++] + "\n");
    }
    if (operation->ended() && sent == operation->events().size()) break;
    const bool behind = sent < operation->events().size();
    const Duration pause = behind ? Duration(milliseconds(50)) : kHeartbeat;
    const net::Wake wake = co_await operation->changed().wait_until(Deadline(mono_now() + pause));
    if (wake == net::Wake::stopping) break;
    if (wake == net::Wake::timeout && !behind) exchange.write("\n");
  }
  exchange.finish();
  co_return Reply{};
}

}  // namespace hearth::control
