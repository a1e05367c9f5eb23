#include "holder/message.hpp"

#include "base/little_endian.hpp"

#include <utility>

namespace hearth::holder {

namespace {

// Byte 1 of every message. Numbers are never reused.
enum class Kind : uint8_t {
  put = 1,
  get = 2,
  list = 3,
  drop = 4,
  spawn = 5,
  exited = 6,
  done = 128,
  names = 129,
  spawned = 130,
  exits = 131,
  error = 132,
};

constexpr size_t kHeaderSize = 8;
constexpr size_t kExitSize = 24;

void append_string(std::string& out, std::string_view text) {
  append_le(out, static_cast<uint32_t>(text.size()));
  out += text;
}

void append_strings(std::string& out, const std::vector<std::string>& strings) {
  append_le(out, static_cast<uint32_t>(strings.size()));
  for (const std::string& s : strings) append_string(out, s);
}

std::string header(Kind kind, uint32_t id) {
  std::string out;
  append_le(out, kProtocolVersion);
  append_le(out, std::to_underlying(kind));
  append_le(out, uint16_t{0});
  append_le(out, id);
  return out;
}

std::string body_of(uint32_t id, const Put& put) {
  std::string out = header(Kind::put, id);
  append_string(out, put.name);
  return out;
}

std::string body_of(uint32_t id, const Get& get) {
  std::string out = header(Kind::get, id);
  append_string(out, get.name);
  return out;
}

std::string body_of(uint32_t id, const List& list) {
  std::string out = header(Kind::list, id);
  append_string(out, list.prefix);
  append_string(out, list.after);
  return out;
}

std::string body_of(uint32_t id, const Drop& drop) {
  std::string out = header(Kind::drop, id);
  append_string(out, drop.name);
  return out;
}

std::string body_of(uint32_t id, const Spawn& spawn) {
  std::string out = header(Kind::spawn, id);
  append_le(out, std::to_underlying(spawn.watch));
  append_strings(out, spawn.args);
  append_strings(out, spawn.environment);
  append_string(out, spawn.directory);
  append_string(out, spawn.output);
  append_le(out, static_cast<uint32_t>(spawn.targets.size()));
  for (const uint32_t target : spawn.targets) append_le(out, target);
  return out;
}

std::string body_of(uint32_t id, const Exited& exited) {
  std::string out = header(Kind::exited, id);
  append_le(out, exited.after);
  append_le(out, std::to_underlying(exited.follow));
  return out;
}

std::string body_of(uint32_t id, const Done&) {
  return header(Kind::done, id);
}

std::string body_of(uint32_t id, const Names& names) {
  std::string out = header(Kind::names, id);
  append_strings(out, names.names);
  append_string(out, names.next);
  return out;
}

std::string body_of(uint32_t id, const Child& child) {
  std::string out = header(Kind::spawned, id);
  append_le(out, static_cast<uint32_t>(child.pid));
  append_le(out, child.start_time);
  return out;
}

std::string body_of(uint32_t id, const Exits& exits) {
  std::string out = header(Kind::exits, id);
  append_le(out, static_cast<uint32_t>(exits.exits.size()));
  for (const Exit& exit : exits.exits) {
    append_le(out, exit.sequence);
    append_le(out, exit.child.start_time);
    append_le(out, static_cast<uint32_t>(exit.child.pid));
    append_le(out, static_cast<uint16_t>(exit.code));
    append_le(out, static_cast<uint16_t>(exit.signal));
  }
  return out;
}

std::string body_of(uint32_t id, const Error& error) {
  std::string out = header(Kind::error, id);
  append_string(out, to_string(error.code));
  append_string(out, error.message);
  return out;
}

/// Reads fields in order; once one is missing, everything after is empty and finish() says so.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::integral T>
  T number() {
    if (rest_.size() < sizeof(T)) return broken(T{});
    const T value = load_le<T>(rest_, 0);
    rest_.remove_prefix(sizeof(T));
    return value;
  }

  std::string string() {
    const size_t size = number<uint32_t>();
    if (rest_.size() < size) return broken(std::string());
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }

  /// Number of entries of which each takes at least `entry_size` bytes: never more than the message can hold.
  size_t count(size_t entry_size) {
    const size_t count = number<uint32_t>();
    return count > rest_.size() / entry_size ? broken(size_t{0}) : count;
  }

  std::vector<std::string> strings() {
    std::vector<std::string> out(count(sizeof(uint32_t)));
    for (std::string& s : out) s = string();
    return out;
  }

  /// A flag byte of an enum whose only values are no = 0 and yes = 1.
  template <class Flag>
  Flag flag() {
    const uint8_t value = number<uint8_t>();
    return value > 1 ? broken(Flag::no) : static_cast<Flag>(value);
  }

  bool finished() const { return !broken_ && rest_.empty(); }

 private:
  template <class T>
  T broken(T value) {
    broken_ = true;
    rest_ = {};
    return value;
  }

  std::string_view rest_;
  bool broken_ = false;
};

Result<Kind> kind_of(std::string_view bytes) {
  if (bytes.size() < kHeaderSize) return fail(ErrorCode::corrupt, "message shorter than its header");
  if (load_le<uint8_t>(bytes, 0) != kProtocolVersion) {
    return fail(ErrorCode::invalid_argument, "holder protocol version " + std::to_string(load_le<uint8_t>(bytes, 0)) +
                                                 " is not known here, version 1 is");
  }
  return static_cast<Kind>(load_le<uint8_t>(bytes, 1));
}

ErrorCode code_named(std::string_view name) {
  for (int i = 0; i <= std::to_underlying(ErrorCode::internal); ++i) {
    if (to_string(static_cast<ErrorCode>(i)) == name) return static_cast<ErrorCode>(i);
  }
  return ErrorCode::internal;
}

Spawn read_spawn(Reader& reader) {
  Spawn spawn;
  spawn.watch = reader.flag<Watch>();
  spawn.args = reader.strings();
  spawn.environment = reader.strings();
  spawn.directory = reader.string();
  spawn.output = reader.string();
  spawn.targets.resize(reader.count(sizeof(uint32_t)));
  for (uint32_t& target : spawn.targets) target = reader.number<uint32_t>();
  return spawn;
}

List read_list(Reader& reader) {
  List list;
  list.prefix = reader.string();
  list.after = reader.string();
  return list;
}

Exited read_exited(Reader& reader) {
  Exited exited;
  exited.after = reader.number<uint64_t>();
  exited.follow = reader.flag<Follow>();
  return exited;
}

Names read_names(Reader& reader) {
  Names names;
  names.names = reader.strings();
  names.next = reader.string();
  return names;
}

Child read_child(Reader& reader) {
  Child child;
  child.pid = static_cast<pid_t>(reader.number<uint32_t>());
  child.start_time = reader.number<uint64_t>();
  return child;
}

Exits read_exits(Reader& reader) {
  Exits exits;
  exits.exits.resize(reader.count(kExitSize));
  for (Exit& exit : exits.exits) {
    exit.sequence = reader.number<uint64_t>();
    exit.child.start_time = reader.number<uint64_t>();
    exit.child.pid = static_cast<pid_t>(reader.number<uint32_t>());
    exit.code = reader.number<uint16_t>();
    exit.signal = reader.number<uint16_t>();
  }
  return exits;
}

Error read_error(Reader& reader) {
  Error error;
  error.code = code_named(reader.string());
  error.message = reader.string();
  return error;
}

}  // namespace

std::string encode(const Request& request) {
  return std::visit([&request](const auto& verb) { return body_of(request.id, verb); }, request.verb);
}

std::string encode(const Reply& reply) {
  return std::visit([&reply](const auto& body) { return body_of(reply.id, body); }, reply.body);
}

Result<Request> decode_request(std::string_view bytes) {
  TRY(const Kind kind, kind_of(bytes));
  Request request;
  request.id = id_of(bytes);
  Reader reader(bytes.substr(kHeaderSize));
  switch (kind) {
    case Kind::put:
      request.verb = Put{reader.string()};
      break;
    case Kind::get:
      request.verb = Get{reader.string()};
      break;
    case Kind::list:
      request.verb = read_list(reader);
      break;
    case Kind::drop:
      request.verb = Drop{reader.string()};
      break;
    case Kind::spawn:
      request.verb = read_spawn(reader);
      break;
    case Kind::exited:
      request.verb = read_exited(reader);
      break;
    default:
      return fail(ErrorCode::invalid_argument, "no such request: " + std::to_string(std::to_underlying(kind)));
  }
  if (!reader.finished()) return fail(ErrorCode::corrupt, "request is cut short or too long");
  return request;
}

Result<Reply> decode_reply(std::string_view bytes) {
  TRY(const Kind kind, kind_of(bytes));
  Reply reply;
  reply.id = id_of(bytes);
  Reader reader(bytes.substr(kHeaderSize));
  switch (kind) {
    case Kind::done:
      break;
    case Kind::names:
      reply.body = read_names(reader);
      break;
    case Kind::spawned:
      reply.body = read_child(reader);
      break;
    case Kind::exits:
      reply.body = read_exits(reader);
      break;
    case Kind::error:
      reply.body = read_error(reader);
      break;
    default:
      return fail(ErrorCode::invalid_argument, "no such reply: " + std::to_string(std::to_underlying(kind)));
  }
  if (!reader.finished()) return fail(ErrorCode::corrupt, "reply is cut short or too long");
  return reply;
}

uint32_t id_of(std::string_view bytes) {
  return bytes.size() < kHeaderSize ? 0 : load_le<uint32_t>(bytes, 4);
}

}  // namespace hearth::holder
