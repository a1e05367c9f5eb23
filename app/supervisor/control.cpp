#include "supervisor/control.hpp"

#include <nlohmann/json.hpp>

namespace hearth::supervisor {

Request take_request(SeqpacketSocket& client) {
  const auto message = client.receive(Deadline::after(mono_now(), seconds(1)));
  if (!message) return Request::none;
  const auto json = nlohmann::json::parse(message->bytes, nullptr, false);
  return json.is_object() && json.value("op", "") == "stop" ? Request::stop : Request::none;
}

void tell_stopped(SeqpacketSocket& client, const std::string& role) {
  (void)client.send(nlohmann::json({{"stopped", role}}).dump());  // it may be gone; what it asked for goes on
}

Result<> ask_to_stop(const std::filesystem::path& socket, const std::function<void(const std::string&)>& on_stopped) {
  auto connected = SeqpacketSocket::connect(socket);
  if (!connected) return fail(ErrorCode::unavailable, "no supervisor: " + connected.error().message);
  TRY_VOID(connected->send(R"({"op":"stop"})"));
  for (;;) {
    const auto message = connected->receive();
    if (!message) return {};
    const auto json = nlohmann::json::parse(message->bytes, nullptr, false);
    if (json.is_object() && json.contains("stopped")) on_stopped(json.value("stopped", ""));
  }
}

}  // namespace hearth::supervisor
