#include "holder/message.hpp"

#include "base/little_endian.hpp"

#include <optional>
#include <type_traits>

namespace hearth::holder {

namespace {

constexpr size_t kHeaderSize = 8;

// Byte 1 of every message. Numbers are never reused.
template <class Body>
constexpr uint8_t kKind = 0;
template <>
constexpr uint8_t kKind<Put> = 1;
template <>
constexpr uint8_t kKind<Get> = 2;
template <>
constexpr uint8_t kKind<List> = 3;
template <>
constexpr uint8_t kKind<Drop> = 4;
template <>
constexpr uint8_t kKind<Spawn> = 5;
template <>
constexpr uint8_t kKind<Exited> = 6;
template <>
constexpr uint8_t kKind<Relay> = 7;
template <>
constexpr uint8_t kKind<Track> = 8;
template <>
constexpr uint8_t kKind<Untrack> = 9;
template <>
constexpr uint8_t kKind<Listen> = 10;
template <>
constexpr uint8_t kKind<Answers> = 11;
template <>
constexpr uint8_t kKind<EventFd> = 12;
template <>
constexpr uint8_t kKind<Counts> = 13;
template <>
constexpr uint8_t kKind<Done> = 128;
template <>
constexpr uint8_t kKind<Names> = 129;
template <>
constexpr uint8_t kKind<Child> = 130;
template <>
constexpr uint8_t kKind<Exits> = 131;
template <>
constexpr uint8_t kKind<Error> = 132;
template <>
constexpr uint8_t kKind<Relayed> = 133;
template <>
constexpr uint8_t kKind<Events> = 134;
template <>
constexpr uint8_t kKind<Counted> = 135;

ErrorCode code_named(std::string_view name) {
  for (int i = 0; i <= std::to_underlying(ErrorCode::internal); ++i) {
    if (to_string(static_cast<ErrorCode>(i)) == name) return static_cast<ErrorCode>(i);
  }
  return ErrorCode::internal;
}

/// Appends fields in order.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  template <std::integral Wire>
  void number(auto value) {
    append_le(out_, static_cast<Wire>(value));
  }
  void text(std::string_view value) {
    number<uint32_t>(value.size());
    out_ += value;
  }
  void flag(auto value) { number<uint8_t>(std::to_underlying(value)); }
  void code(ErrorCode value) { text(to_string(value)); }
  void list(const auto& values, size_t /*entry_bytes*/, auto each) {
    number<uint32_t>(values.size());
    for (const auto& value : values) each(value);
  }

 private:
  std::string& out_;
};

/// Reads fields in order; once one is missing, everything after is empty and finished() says so.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::integral Wire>
  void number(auto& value) {
    value = static_cast<std::remove_reference_t<decltype(value)>>(take<Wire>());
  }
  void text(std::string& value) {
    const size_t size = take<uint32_t>();
    if (size > rest_.size()) return broken();
    value = rest_.substr(0, size);
    rest_.remove_prefix(size);
  }
  /// An enum whose only values are no = 0 and yes = 1.
  template <class Flag>
  void flag(Flag& value) {
    const auto byte = take<uint8_t>();
    if (byte > 1) return broken();
    value = static_cast<Flag>(byte);
  }
  void code(ErrorCode& value) {
    std::string name;
    text(name);
    value = code_named(name);
  }
  /// Entries of which each takes at least `entry_bytes`: never more than the message can hold.
  void list(auto& values, size_t entry_bytes, auto each) {
    const size_t count = take<uint32_t>();
    if (count > rest_.size() / entry_bytes) return broken();
    values.resize(count);
    for (auto& value : values) each(value);
  }

  bool finished() const { return !broken_ && rest_.empty(); }

 private:
  template <std::integral Wire>
  Wire take() {
    if (rest_.size() < sizeof(Wire)) {
      broken();
      return 0;
    }
    const Wire value = load_le<Wire>(rest_, 0);
    rest_.remove_prefix(sizeof(Wire));
    return value;
  }
  void broken() {
    broken_ = true;
    rest_ = {};
  }

  std::string_view rest_;
  bool broken_ = false;
};

// The fields of every body, once for the writer and the reader alike.

template <class T, class Body>
concept Is = std::same_as<std::remove_const_t<T>, Body>;

constexpr size_t kTextBytes = sizeof(uint32_t);  // of an empty one

void fields(auto& io, Is<Put> auto& put) {
  io.text(put.name);
}
void fields(auto& io, Is<Get> auto& get) {
  io.text(get.name);
}
void fields(auto& io, Is<List> auto& list) {
  io.text(list.prefix);
  io.text(list.after);
}
void fields(auto& io, Is<Drop> auto& drop) {
  io.text(drop.name);
}
void fields(auto& io, Is<Spawn> auto& spawn) {
  const auto text = [&io](auto& value) { io.text(value); };
  io.flag(spawn.watch);
  io.list(spawn.args, kTextBytes, text);
  io.list(spawn.environment, kTextBytes, text);
  io.text(spawn.directory);
  io.text(spawn.output);
  io.list(spawn.targets, sizeof(uint32_t), [&io](auto& target) { io.template number<uint32_t>(target); });
}
void fields(auto& io, Is<Exited> auto& exited) {
  io.template number<uint64_t>(exited.after);
  io.flag(exited.follow);
}
void fields(auto& io, Is<Child> auto& child) {
  io.template number<uint32_t>(child.pid);
  io.template number<uint64_t>(child.start_time);
}
void fields(auto& io, Is<Relay> auto& relay) {
  io.text(relay.name);
  fields(io, relay.predecessor);
  io.template number<uint32_t>(relay.timeout_ms);
}
void fields(auto& io, Is<Track> auto& track) {
  io.text(track.name);
  io.template number<uint64_t>(track.token);
  io.template number<uint32_t>(track.header_bytes);
  io.template number<uint32_t>(track.page_bytes);
  io.flag(track.observe);
}
void fields(auto& io, Is<Untrack> auto& untrack) {
  io.text(untrack.name);
}
void fields(auto&, Is<Listen> auto&) {}
void fields(auto& io, Is<Answers> auto& answer) {
  io.list(answer.answers, sizeof(uint64_t) + sizeof(uint32_t), [&io](auto& one) {
    io.template number<uint64_t>(one.sequence);
    io.template number<uint32_t>(one.error);
  });
}
void fields(auto& io, Is<EventFd> auto& event) {
  io.template number<uint64_t>(event.sequence);
}
void fields(auto&, Is<Counts> auto&) {}

void fields(auto&, Is<Done> auto&) {}
void fields(auto& io, Is<Names> auto& names) {
  io.list(names.names, kTextBytes, [&io](auto& name) { io.text(name); });
  io.text(names.next);
}
void fields(auto& io, Is<Exits> auto& exits) {
  io.list(exits.exits, 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t), [&io](auto& exit) {
    io.template number<uint64_t>(exit.sequence);
    io.template number<uint64_t>(exit.child.start_time);
    io.template number<uint32_t>(exit.child.pid);
    io.template number<uint16_t>(exit.code);
    io.template number<uint16_t>(exit.signal);
  });
}
void fields(auto& io, Is<Error> auto& error) {
  io.code(error.code);
  io.text(error.message);
}
void fields(auto& io, Is<Relayed> auto& relayed) {
  io.template number<uint32_t>(relayed.denied);
}
void fields(auto& io, Is<Events> auto& events) {
  io.list(events.events, 4 * sizeof(uint64_t) + sizeof(uint32_t), [&io](auto& event) {
    io.template number<uint64_t>(event.sequence);
    io.template number<uint64_t>(event.token);
    io.template number<uint64_t>(event.offset);
    io.template number<uint64_t>(event.length);
    io.template number<uint32_t>(event.pid);
  });
}
void fields(auto& io, Is<Counted> auto& counted) {
  io.list(counted.values, kTextBytes + sizeof(uint64_t), [&io](auto& value) {
    io.text(value.first);
    io.template number<uint64_t>(value.second);
  });
}

template <class Body>
std::string message_of(uint32_t id, const Body& body) {
  std::string out;
  Writer writer(out);
  writer.number<uint8_t>(kProtocolVersion);
  writer.number<uint8_t>(kKind<Body>);
  writer.number<uint16_t>(0);
  writer.number<uint32_t>(id);
  fields(writer, body);
  return out;
}

/// Reads the body of the alternative whose kind it is; nothing when there is none.
template <class... Bodies>
std::optional<std::variant<Bodies...>> body_of(uint8_t kind, Reader& reader, const std::variant<Bodies...>* /*type*/) {
  std::optional<std::variant<Bodies...>> body;
  const auto read_if = [&]<class Body>(std::type_identity<Body>) {
    static_assert(kKind<Body> != 0);
    if (kind != kKind<Body>) return;
    Body read;
    fields(reader, read);
    body.emplace(std::move(read));
  };
  (read_if(std::type_identity<Bodies>()), ...);
  return body;
}

/// Fills what is left of a Request or Reply.
Result<> decode_into(std::string_view bytes, std::string_view what, uint32_t& id, auto& body) {
  if (bytes.size() < kHeaderSize) return fail(ErrorCode::corrupt, "message shorter than its header");
  if (const auto version = load_le<uint8_t>(bytes, 0); version != kProtocolVersion) {
    return fail(ErrorCode::invalid_argument,
                "holder protocol version " + std::to_string(version) + " is not known here, version 1 is");
  }
  id = id_of(bytes);
  const auto kind = load_le<uint8_t>(bytes, 1);
  Reader reader(bytes.substr(kHeaderSize));
  auto read = body_of(kind, reader, &body);
  if (!read) return fail(ErrorCode::invalid_argument, "no such " + std::string(what) + ": " + std::to_string(kind));
  if (!reader.finished()) return fail(ErrorCode::corrupt, std::string(what) + " is cut short or too long");
  body = std::move(*read);
  return {};
}

}  // namespace

std::string encode(const Request& request) {
  return std::visit([&request](const auto& verb) { return message_of(request.id, verb); }, request.verb);
}

std::string encode(const Reply& reply) {
  return std::visit([&reply](const auto& body) { return message_of(reply.id, body); }, reply.body);
}

Result<Request> decode_request(std::string_view bytes) {
  Request request;
  TRY_VOID(decode_into(bytes, "request", request.id, request.verb));
  return request;
}

Result<Reply> decode_reply(std::string_view bytes) {
  Reply reply;
  TRY_VOID(decode_into(bytes, "reply", reply.id, reply.body));
  return reply;
}

uint32_t id_of(std::string_view bytes) {
  return bytes.size() < kHeaderSize ? 0 : load_le<uint32_t>(bytes, 4);
}

}  // namespace hearth::holder
