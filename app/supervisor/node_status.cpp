#include "supervisor/node_status.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "base/unique_fd.hpp"
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"
#include "wire/hello.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace hearth::supervisor {

namespace {

Result<UniqueFd> connect_stream(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof address.sun_path) return fail(ErrorCode::invalid_argument, "socket path too long");
  std::memcpy(address.sun_path, path.c_str(), path.string().size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("create socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("connect to " + path.string(), errno);
  }
  return fd;
}

Result<> receive(int fd, wire::FrameDecoder& decoder, Deadline deadline) {
  const auto left = deadline.left(mono_now());
  pollfd waiter{fd, POLLIN, 0};
  const int timeout_ms = left ? static_cast<int>(std::chrono::ceil<milliseconds>(*left).count()) : -1;
  if (::poll(&waiter, 1, timeout_ms) <= 0) return fail(ErrorCode::deadline_exceeded, "the node does not answer");
  const auto room = decoder.prepare();
  const ssize_t got = ::read(fd, room.data(), room.size());
  if (got <= 0) return fail(ErrorCode::unavailable, "the node closed the connection");
  decoder.commit(static_cast<size_t>(got));
  return {};
}

/// The result with this id, if the frame holds it.
std::optional<Result<std::string>> answer_in(const wire::Frame& frame, uint64_t id) {
  if (frame.type() != wire::FrameType::results) return std::nullopt;
  for (const wire::ResultView& result : wire::Entries<wire::ResultView>(frame)) {
    if (result.id != id) continue;
    if (result.status == wire::Status::ok) return std::string(result.value);
    return fail(ErrorCode::unavailable, "the node answered " + std::string(result.value));
  }
  return std::nullopt;
}

}  // namespace

Result<std::string> node_status(const std::filesystem::path& socket, Deadline deadline) {
  TRY(const UniqueFd fd, connect_stream(socket));
  const uint64_t id = random_u64();
  std::string out;
  wire::Hello hello;
  hello.role = "router";
  hello.id = "status-" + random_id(8);
  hello.generation = random_id(8);
  wire::append_hello(out, hello);
  wire::RequestBatchWriter writer;
  const std::string call = R"({"method":"status","params":{}})";
  (void)writer.add({.id = id, .kind = wire::RequestKind::call}, call);
  writer.write(out, 0);
  TRY_VOID(write_all(fd.get(), out, socket.string()));
  wire::FrameDecoder decoder;
  for (;;) {
    TRY(const auto frame, decoder.next());
    if (!frame) {
      TRY_VOID(receive(fd.get(), decoder, deadline));
      continue;
    }
    if (auto answer = answer_in(*frame, id)) return std::move(*answer);
  }
}

}  // namespace hearth::supervisor
