#include "wire/hello.hpp"

#include "wire/frame_writer.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace hearth::wire {
namespace {

using Json = nlohmann::json;

Json to_json(const Hello& hello) {
  Json json = {{"versions", {hello.version_lowest, hello.version_highest}}, {"role", hello.role}, {"id", hello.id}};
  if (hello.frame_limit_bytes != kMaxFrameBytes) json["frame_limit_bytes"] = hello.frame_limit_bytes;
  if (!hello.generation.empty()) json["generation"] = hello.generation;
  if (!hello.boot.empty()) json["boot"] = hello.boot;
  if (hello.role != "worker") return json;
  json["index"] = hello.index;
  json["pid"] = hello.pid;
  json["state"] = hello.state;
  json["mode"] = hello.mode;
  json["credits"] = hello.credits;
  return json;
}

/// Fields are optional; one that is present has to have the right type.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  void text(const char* name, std::string& out) {
    const auto found = json_.find(name);
    if (found == json_.end()) return;
    if (found->is_string()) {
      out = found->get<std::string>();
    } else {
      wrong(name);
    }
  }

  template <class T>
  void number(const char* name, T& out) {
    const auto found = json_.find(name);
    if (found == json_.end()) return;
    if (!found->is_number_integer() || found->get<int64_t>() < -1 || found->get<int64_t>() > INT32_MAX)
      return wrong(name);
    if (found->get<int64_t>() < 0 && std::is_unsigned_v<T>) return wrong(name);
    out = found->get<T>();
  }

  void wrong(const char* name) {
    if (wrong_.empty()) wrong_ = name;
  }
  const std::string& wrong_field() const { return wrong_; }

 private:
  const Json& json_;
  std::string wrong_;
};

bool read_versions(const Json& json, Hello& hello) {
  const auto found = json.find("versions");
  if (found == json.end() || !found->is_array() || found->size() != 2) return false;
  const Json& low = (*found)[0];
  const Json& high = (*found)[1];
  if (!low.is_number_unsigned() || !high.is_number_unsigned()) return false;
  if (low.get<uint64_t>() > high.get<uint64_t>() || high.get<uint64_t>() > UINT32_MAX) return false;
  hello.version_lowest = low.get<uint32_t>();
  hello.version_highest = high.get<uint32_t>();
  return true;
}

}  // namespace

void append_hello(std::string& out, const Hello& hello) {
  const std::string text = to_json(hello).dump(-1, ' ', false, Json::error_handler_t::replace);
  append_json(out, FrameType::hello, 0, text);
}

Result<Hello> parse_hello(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(ErrorCode::corrupt, "wire: HELLO is not a JSON object");
  Hello hello;
  if (!read_versions(json, hello)) return fail(ErrorCode::corrupt, "wire: HELLO without a range of versions");
  Reader reader(json);
  reader.text("role", hello.role);
  reader.text("id", hello.id);
  reader.text("generation", hello.generation);
  reader.text("boot", hello.boot);
  reader.text("state", hello.state);
  reader.text("mode", hello.mode);
  reader.number("frame_limit_bytes", hello.frame_limit_bytes);
  reader.number("index", hello.index);
  reader.number("pid", hello.pid);
  reader.number("credits", hello.credits);
  if (!reader.wrong_field().empty()) {
    return fail(ErrorCode::corrupt, "wire: HELLO with a wrong \"" + reader.wrong_field() + "\"");
  }
  hello.frame_limit_bytes = std::clamp<uint64_t>(hello.frame_limit_bytes, kMinFrameBytes, kMaxFrameBytes);
  hello.text = text;
  return hello;
}

Result<uint32_t> agree_version(const Hello& mine, const Hello& theirs) {
  const uint32_t agreed = std::min(mine.version_highest, theirs.version_highest);
  if (agreed >= mine.version_lowest && agreed >= theirs.version_lowest) return agreed;
  return fail(ErrorCode::unavailable,
              "wire: no common protocol version: this side speaks " + std::to_string(mine.version_lowest) + " to " +
                  std::to_string(mine.version_highest) + ", the " + theirs.role + " " +
                  std::to_string(theirs.version_lowest) + " to " + std::to_string(theirs.version_highest));
}

}  // namespace hearth::wire
