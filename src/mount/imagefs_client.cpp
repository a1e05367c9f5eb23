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

struct Reply {
  std::vector<UniqueFd> fds;
  std::string trace;
  std::string metrics;
};

/// What one connection gave: an answer (good or bad), or nothing because contact was lost.
struct Attempt {
  std::optional<Result<Reply>> answer;
  Error lost;
};

Unexpected too_late(const LayerRequest& request) {
  return fail(ErrorCode::deadline_exceeded, "layer " + request.digest.to_string() + " was not ready in time");
}

Attempt ask_once(const std::filesystem::path& path, LayerOp op, const LayerRequest& request, MonoTime& last_contact) {
  auto socket = SeqpacketSocket::connect(path);
  if (!socket) return {.answer = std::nullopt, .lost = socket.error()};
  const LayerQuestion question{.op = op,
                               .workspace = request.workspace,
                               .digest = request.digest,
                               .profile = request.profile,
                               .id_base = request.id_base};
  if (auto sent = socket->send(encode(question)); !sent) return {.answer = std::nullopt, .lost = sent.error()};
  for (;;) {
    auto received = socket->receive(request.deadline);
    if (!received && received.error().code == ErrorCode::deadline_exceeded) {
      return {.answer = too_late(request), .lost = {}};
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
        return {.answer = Reply{std::move(received->fds), std::move(answer->trace), std::move(answer->metrics)},
                .lost = {}};
    }
  }
}

/// Asks until there is an answer, of this imagefs or of its successor.
Result<Reply> ask(const std::filesystem::path& path, LayerOp op, const LayerRequest& request) {
  MonoTime last_contact = mono_now();
  milliseconds pause = kFirstPause;
  for (;;) {
    auto attempt = ask_once(path, op, request, last_contact);
    // "cancelled" is what imagefs says while it stops: its successor is asked.
    const bool stopping = attempt.answer && !*attempt.answer && attempt.answer->error().code == ErrorCode::cancelled;
    if (attempt.answer && !stopping) return std::move(*attempt.answer);
    const auto now = mono_now();
    if (request.deadline.passed(now)) return too_late(request);
    if (now - last_contact > ImagefsClient::kReconnectFor) {
      return fail(ErrorCode::unavailable, "imagefs does not answer: " + attempt.lost.message);
    }
    const auto left = request.deadline.left(now).value_or(kLongestPause);
    std::this_thread::sleep_for(std::min<Duration>(pause, left));
    pause = std::min(pause * 2, kLongestPause);
  }
}

}  // namespace

Result<UniqueFd> ImagefsClient::layer(const LayerRequest& request) const {
  TRY(auto reply, ask(socket_, LayerOp::layer, request));
  if (reply.fds.size() != 1) return fail(ErrorCode::corrupt, "imagefs answered without a descriptor");
  return std::move(reply.fds.front());
}

Result<> ImagefsClient::recorded(const LayerRequest& request) const {
  TRY_VOID(ask(socket_, LayerOp::recorded, request));
  return {};
}

Result<std::string> ImagefsClient::trace(const LayerRequest& request) const {
  TRY(auto reply, ask(socket_, LayerOp::trace, request));
  return std::move(reply.trace);
}

Result<std::string> ImagefsClient::metrics(Deadline deadline) const {
  MonoTime last_contact = mono_now();
  auto attempt = ask_once(socket_, LayerOp::metrics, {.deadline = deadline}, last_contact);
  if (!attempt.answer) return Unexpected(attempt.lost);
  if (!*attempt.answer) return Unexpected(attempt.answer->error());
  return std::move((*attempt.answer)->metrics);
}

}  // namespace hearth::mount
