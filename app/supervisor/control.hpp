// What `hearth down` says to a running supervisor: SEQPACKET on RUN/supervisor.sock, one JSON message a packet.
// {"op":"stop"} is answered by {"stopped":"<role>"} for each role, and by the end of the connection when all is done.
#pragma once

#include "base/result.hpp"
#include "base/seqpacket.hpp"

#include <filesystem>
#include <functional>
#include <string>

namespace hearth::supervisor {

enum class Request { none, stop };

/// The supervisor's side. A client that says nothing within a second has asked for nothing.
Request take_request(SeqpacketSocket& client);
void tell_stopped(SeqpacketSocket& client, const std::string& role);

/// The client's side: returns when the supervisor has ended. unavailable when none answers.
Result<> ask_to_stop(const std::filesystem::path& socket, const std::function<void(const std::string&)>& on_stopped);

}  // namespace hearth::supervisor
