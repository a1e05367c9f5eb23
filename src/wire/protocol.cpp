#include "wire/protocol.hpp"

namespace hearth::wire {

std::string_view to_string(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return "hello";
    case FrameType::requests:
      return "requests";
    case FrameType::results:
      return "results";
    case FrameType::ack:
      return "ack";
    case FrameType::credits:
      return "credits";
    case FrameType::cancel:
      return "cancel";
    case FrameType::progress:
      return "progress";
    case FrameType::attach:
      return "attach";
    case FrameType::event:
      return "event";
    case FrameType::open:
      return "open";
    case FrameType::ping:
      return "ping";
    case FrameType::pong:
      return "pong";
    case FrameType::goodbye:
      return "goodbye";
  }
  return "unknown";
}

std::string_view to_string(Status status) {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::raised:
      return "raised";
    case Status::malformed:
      return "malformed";
    case Status::unsendable:
      return "unsendable";
    case Status::deadline:
      return "deadline";
    case Status::cancelled:
      return "cancelled";
    case Status::worker_died:
      return "worker_died";
    case Status::overloaded:
      return "overloaded";
    case Status::not_ready:
      return "not_ready";
    case Status::unknown:
      return "unknown";
    case Status::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace hearth::wire
