// The holder's messages as bytes, one message a packet (docs/formats/holder.md). Pure; both ends use it.
#pragma once

#include "base/result.hpp"
#include "holder/client.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hearth::holder {

inline constexpr uint8_t kProtocolVersion = 1;
inline constexpr size_t kNameMax = 255;           // bytes
inline constexpr size_t kExitsRemembered = 4096;  // also the most in one message
inline constexpr size_t kEventsPerMessage = 512;
inline constexpr size_t kAnswersPerMessage = 4096;

struct Put {
  std::string name;  // the descriptor travels beside the message
};
struct Get {
  std::string name;
};
struct List {
  std::string prefix;
  std::string after;  // names greater than this one only: the next page
};
struct Drop {
  std::string name;
};
/// Whether the connection that spawned a child is told of its end.
enum class Watch : uint8_t { no = 0, yes = 1 };
struct Spawn {
  Watch watch = Watch::no;
  std::vector<std::string> args;
  std::vector<std::string> environment;
  std::string directory;
  std::string output;
  std::vector<uint32_t> targets;  // number in the child of each descriptor beside the message
};
/// Whether ends to come are pushed too.
enum class Follow : uint8_t { no = 0, yes = 1 };
struct Exited {
  uint64_t after = 0;
  Follow follow = Follow::no;
};

struct Relay {
  std::string name;  // the group travels beside the message
  Child predecessor;
  uint32_t timeout_ms = 0;
};
struct Track {
  std::string name;  // the data file and the presence file travel beside the message
  uint64_t token = 0;
  uint32_t header_bytes = 0;
  uint32_t page_bytes = 0;
  Observe observe = Observe::no;
};
struct Untrack {
  std::string name;
};
struct Listen {};  // events are pushed from now on
struct Answers {   // are not answered themselves
  std::vector<EventAnswer> answers;
};
struct EventFd {
  uint64_t sequence = 0;
};
struct Counts {};

struct Request {
  uint32_t id = 0;  // comes back in the reply
  std::variant<Put, Get, List, Drop, Spawn, Exited, Relay, Track, Untrack, Listen, Answers, EventFd, Counts> verb;
};

struct Done {};  // answers what has no more to say, perhaps with a descriptor beside it
struct Names {
  std::vector<std::string> names;
  std::string next;  // not empty: ask again with `after` = next
};
struct Exits {
  std::vector<Exit> exits;  // oldest first
};

struct Relayed {
  uint32_t denied = 0;  // events that a dead predecessor had left unanswered
};
struct Events {
  std::vector<Event> events;  // oldest first
};
struct Counted {
  std::vector<std::pair<std::string, uint64_t>> values;
};

struct Reply {
  uint32_t id = 0;
  std::variant<Done, Names, Child, Exits, Error, Relayed, Events, Counted> body;
};

std::string encode(const Request& request);
std::string encode(const Reply& reply);

/// Errors: invalid_argument for a version or verb not known, corrupt for bytes that are no message.
Result<Request> decode_request(std::string_view bytes);
Result<Reply> decode_reply(std::string_view bytes);

/// The id in bytes that may be no valid message, so that even those can be answered; 0 when there is none.
uint32_t id_of(std::string_view bytes);

}  // namespace hearth::holder
