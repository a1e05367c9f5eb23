#include "control/admin_call.hpp"

#include "base/error_table.hpp"

namespace hearth::control {
namespace {

/// What the node's answer and the coroutine that waits for it share; either may be gone first.
struct Answered {
  explicit Answered(net::EventLoop& loop) : event(loop) {}
  net::Event event;
  Result<std::string> value;
};

}  // namespace

net::Task<Result<std::string>> ask_node(Control& control, std::string method, std::string params,
                                        std::shared_ptr<Operation> operation, Duration patience) {
  const auto answered = std::make_shared<Answered>(control.host.loop());
  NodeCall call{.method = std::move(method), .params = std::move(params)};
  call.deadline = Deadline::after(mono_now(), patience);
  if (operation) call.progress = [operation](std::string_view json) { operation->add(std::string(json)); };
  call.done = [answered](Result<std::string> value) {
    answered->value = std::move(value);
    answered->event.set();
  };
  control.host.call_node(std::move(call));
  const net::Wake wake = co_await answered->event.wait();
  if (wake != net::Wake::signalled) co_return fail(ErrorCode::unavailable, "the router is being stopped; try again");
  co_return std::move(answered->value);
}

net::Task<> refresh_catalog(Control& control) {
  const auto done = std::make_shared<net::Event>(control.host.loop());
  control.host.refresh_catalog([done] { done->set(); });
  co_await done->wait();
}

Result<std::vector<std::string>> missing_uploads(blob::ObjectStore& store, const std::string& workspace,
                                                 const std::vector<std::string>& digests) {
  const std::string folder = "ws/" + workspace + "/uploads/";
  std::vector<std::string> missing;
  for (const std::string& hex : digests) {
    TRY(const auto size, store.size(folder + hex));
    if (!size) missing.push_back(hex);
  }
  return missing;
}

Reply error_reply(const Error& error) {
  std::string body = "{\"error\":";
  body += net::json_quote(error.message);
  body += ",\"code\":";
  body += net::json_quote(to_string(error.code));
  body += '}';
  return {.status = http_status(error.code), .body = std::move(body)};
}

}  // namespace hearth::control
