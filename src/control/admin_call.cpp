#include "control/admin_call.hpp"

#include "base/error_table.hpp"
#include "base/log.hpp"
#include "catalog/store_keys.hpp"
#include "control/request_json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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
  std::vector<std::string> missing;
  for (const std::string& hex : digests) {
    TRY(const auto size, store.size(catalog::upload_key(workspace, hex)));
    if (!size) missing.push_back(hex);
  }
  return missing;
}

Result<> check_uploaded(blob::ObjectStore& store, const std::string& workspace,
                        const std::vector<std::string>& digests) {
  TRY(const auto missing, missing_uploads(store, workspace, digests));
  if (missing.empty()) return {};
  return fail(ErrorCode::not_found, std::to_string(missing.size()) +
                                        " parts named in \"files\" were not uploaded, the first is " + missing.front());
}

Result<std::shared_ptr<blob::Intent>> upload_session(UploadSessions& sessions, const nlohmann::json& body,
                                                     const std::string& workspace) {
  if (!body.contains("session")) return nullptr;
  TRY(const std::string id, text_member(body, "session"));
  return sessions.find(id, workspace);
}

net::Task<> end_upload_session(Control& control, std::shared_ptr<blob::Intent> session) {
  if (!session) co_return;
  auto end = [sessions = control.uploads, session = std::move(session)]() mutable -> Result<> {
    sessions->end(session->id());
    session.reset();  // here: it is removed from the store
    return {};
  };
  const Result<> ended = co_await in_pool(control, std::move(end));
  if (!ended) log_warning("an upload session stays until it lapses", {{"error", ended.error().message}});
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
