#include "mount/imagefs_client.hpp"

#include "base/seqpacket.hpp"
#include "mount/message.hpp"

#include <algorithm>
#include <optional>
#include <thread>

namespace hearth::mount {

namespace {

constexpr milliseconds kFirstPause{10};
constexpr milliseconds kLongestPause{500};

/// What one connection gave: an answer (mount or error), or nothing because contact was lost.
struct Attempt {
  std::optional<Result<UniqueFd>> answer;
  Error lost;
};

Attempt ask(const std::filesystem::path& path, const LayerRequest& request, MonoTime& last_contact) {
  auto socket = SeqpacketSocket::connect(path);
  if (!socket) return {.answer = std::nullopt, .lost = socket.error()};
  if (auto sent = socket->send(encode(LayerQuestion{request.workspace, request.digest})); !sent) {
    return {.answer = std::nullopt, .lost = sent.error()};
  }
  for (;;) {
    auto received = socket->receive(request.deadline);
    if (!received && received.error().code == ErrorCode::deadline_exceeded) {
      return {.answer =
                  fail(ErrorCode::deadline_exceeded, "layer " + request.digest.to_string() + " was not ready in time"),
              .lost = {}};
    }
    if (!received) return {.answer = std::nullopt, .lost = received.error()};
    last_contact = mono_now();
    auto answer = decode_answer(received->bytes);
    if (!answer) return {.answer = Unexpected(answer.error()), .lost = {}};
    switch (answer->kind) {
      case LayerAnswer::Kind::progress:
        if (request.on_progress) request.on_progress(answer->progress);
        break;
      case LayerAnswer::Kind::error:
        return {.answer = Unexpected(answer->error), .lost = {}};
      case LayerAnswer::Kind::ready:
        if (received->fds.size() == 1) return {.answer = std::move(received->fds.front()), .lost = {}};
        return {.answer = fail(ErrorCode::corrupt, "imagefs answered without a descriptor"), .lost = {}};
    }
  }
}

}  // namespace

Result<UniqueFd> ImagefsClient::layer(const LayerRequest& request) const {
  MonoTime last_contact = mono_now();
  milliseconds pause = kFirstPause;
  for (;;) {
    auto attempt = ask(socket_, request, last_contact);
    // "cancelled" is what imagefs says while it stops: its successor is asked.
    const bool stopping = attempt.answer && !*attempt.answer && attempt.answer->error().code == ErrorCode::cancelled;
    if (attempt.answer && !stopping) return std::move(*attempt.answer);
    const auto now = mono_now();
    if (request.deadline.passed(now)) {
      return fail(ErrorCode::deadline_exceeded, "layer " + request.digest.to_string() + " was not ready in time");
    }
    if (now - last_contact > kReconnectFor) {
      return fail(ErrorCode::unavailable, "imagefs does not answer: " + attempt.lost.message);
    }
    const auto left = request.deadline.left(now).value_or(kLongestPause);
    std::this_thread::sleep_for(std::min<Duration>(pause, left));
    pause = std::min(pause * 2, kLongestPause);
  }
}

}  // namespace hearth::mount
