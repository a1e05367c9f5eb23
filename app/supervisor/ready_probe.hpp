// Whether a role answers yet. Each probe takes milliseconds at most.
#pragma once

#include <filesystem>
#include <string>

namespace hearth::supervisor {

enum class SocketKind { stream, seqpacket };

/// Somebody accepts connections on a Unix socket.
bool socket_answers(const std::filesystem::path& path, SocketKind kind);

/// GET `path` of an http:// URL answers 200 within half a second.
bool http_ok(const std::string& url, const std::string& path);

}  // namespace hearth::supervisor
