#include "client/operation.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <thread>

namespace hearth::client {

namespace {

using nlohmann::json;

constexpr int kReconnects = 30;
constexpr seconds kReconnectPause{1};

std::string text_of(const json& event, const char* name) {
  return event.contains(name) && event[name].is_string() ? event[name].get<std::string>() : std::string();
}

ErrorCode code_named(const std::string& name) {
  for (ErrorCode code : {ErrorCode::invalid_argument, ErrorCode::not_found, ErrorCode::already_exists,
                         ErrorCode::denied, ErrorCode::unavailable, ErrorCode::deadline_exceeded, ErrorCode::exhausted,
                         ErrorCode::corrupt, ErrorCode::cancelled}) {
    if (to_string(code) == name) return code;
  }
  return ErrorCode::internal;
}

/// Shows events; remembers how the operation ended. Events seen before a reconnect are not shown twice.
class EventView {
 public:
  explicit EventView(Progress& progress) : progress_(progress) {}

  void reconnect() {
    skip_ = seen_;
    seen_ = 0;
  }
  bool ended() const { return result_.has_value() || error_.has_value(); }

  bool take(std::string_view line) {
    const json event = json::parse(line, nullptr, false);
    if (!event.is_object()) return true;
    if (event.contains("result")) {
      result_ = event["result"].dump();
    } else if (event.contains("error")) {
      error_ = Error{code_named(text_of(event, "code")), text_of(event, "error")};
    } else if (++seen_ > skip_) {
      show(event);
    }
    return !ended();
  }

  Result<std::string> outcome() const {
    if (error_) return Unexpected(*error_);
    return *result_;
  }

 private:
  void show(const json& event) {
    const std::string phase = text_of(event, "phase");
    const bool counts = event.contains("total") && event["total"].is_number_unsigned();
    if (!phase.empty() && phase != phase_) {
      phase_ = phase;
      progress_.phase(phase, counts ? event["total"].get<uint64_t>() : 0, text_of(event, "unit"));
    }
    if (const std::string log = text_of(event, "log"); !log.empty()) progress_.log_line(log);
    if (const std::string message = text_of(event, "message"); !message.empty()) progress_.message(message);
    if (event.contains("done") && event["done"].is_number_unsigned()) {
      if (counts) progress_.set_total(event["total"].get<uint64_t>());
      progress_.advance_to(event["done"].get<uint64_t>());
    }
  }

  Progress& progress_;
  std::string phase_;
  size_t seen_ = 0;
  size_t skip_ = 0;
  std::optional<std::string> result_;
  std::optional<Error> error_;
};

}  // namespace

Result<std::string> follow_operation(ApiClient& api, const std::string& start_reply, Progress& progress) {
  const json started = json::parse(start_reply, nullptr, false);
  const std::string id = started.is_object() ? text_of(started, "operation") : "";
  if (id.empty()) return fail(ErrorCode::corrupt, api.endpoint().url + " did not start an operation");
  EventView view(progress);
  for (int attempt = 0; attempt < kReconnects; ++attempt) {
    auto streamed = api.stream_lines("/api/v1/operations/" + url_escape(id) + "/events",
                                     [&view](std::string_view line) { return view.take(line); });
    if (view.ended()) {
      progress.finish();
      return view.outcome();
    }
    if (!streamed && streamed.error().code != ErrorCode::unavailable) return Unexpected(streamed.error());
    view.reconnect();
    std::this_thread::sleep_for(kReconnectPause);
  }
  return fail(ErrorCode::unavailable, "lost the connection to " + api.endpoint().url +
                                          "; the operation may still finish there: see 'hearth ls'");
}

}  // namespace hearth::client
