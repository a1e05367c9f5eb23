#include "fleet/announcement.hpp"

#include <nlohmann/json.hpp>

#include <optional>

namespace hearth::fleet {

namespace {

using Json = nlohmann::json;

/// Reads the members of one object; the first that is missing or of a wrong type is remembered.
class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  void text(const char* name, std::string& into) {
    const Json* member = find(name, Json::value_t::string);
    if (member != nullptr) into = member->get_ref<const std::string&>();
  }

  template <std::unsigned_integral T>
  void count(const char* name, T& into) {
    const Json* member = find(name, Json::value_t::number_unsigned);
    if (member == nullptr) return;
    auto value = member->get<uint64_t>();
    into = static_cast<T>(value);
    if (into != value) wrong_ = name;
  }

  void number(const char* name, double& into) {
    auto found = object_.find(name);
    if (found == object_.end() || !found->is_number())
      wrong_ = name;
    else
      into = found->get<double>();
  }

  const Json* find(const char* name, Json::value_t type) {
    if (object_.is_object())
      if (auto found = object_.find(name); found != object_.end() && found->type() == type) return &*found;
    wrong_ = name;
    return nullptr;
  }

  void merge(const Reader& part) {
    if (part.wrong_) wrong_ = part.wrong_;
  }

  Result<> result() const {
    if (wrong_) return fail(ErrorCode::corrupt, "announcement of a node: '" + std::string(*wrong_) + "' is wrong");
    return {};
  }

 private:
  const Json& object_;
  std::optional<const char*> wrong_;
};

}  // namespace

std::string to_json(const NodeAnnouncement& announcement) {
  Json replicas = Json::array();
  for (const ReplicaSummary& replica : announcement.replicas)
    replicas.push_back({{"workspace", replica.workspace},
                        {"model", replica.model},
                        {"branch", replica.branch},
                        {"version", replica.version},
                        {"state", replica.state},
                        {"slots", replica.slots}});
  Json json = {{"node_id", announcement.node_id},  {"address", announcement.address},
               {"cpu", announcement.capacity.cpu}, {"memory_bytes", announcement.capacity.memory_bytes},
               {"replicas", std::move(replicas)},  {"generation", announcement.generation},
               {"sequence", announcement.sequence}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<NodeAnnouncement> announcement_from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(ErrorCode::corrupt, "announcement of a node: not a JSON object");
  NodeAnnouncement announcement;
  Reader reader(json);
  reader.text("node_id", announcement.node_id);
  reader.text("address", announcement.address);
  reader.number("cpu", announcement.capacity.cpu);
  reader.count("memory_bytes", announcement.capacity.memory_bytes);
  reader.count("generation", announcement.generation);
  reader.count("sequence", announcement.sequence);
  if (const Json* replicas = reader.find("replicas", Json::value_t::array)) {
    for (const Json& item : *replicas) {
      ReplicaSummary& replica = announcement.replicas.emplace_back();
      Reader part(item);
      part.text("workspace", replica.workspace);
      part.text("model", replica.model);
      part.text("branch", replica.branch);
      part.count("version", replica.version);
      part.text("state", replica.state);
      part.count("slots", replica.slots);
      reader.merge(part);
    }
  }
  TRY_VOID(reader.result());
  if (announcement.node_id.empty()) return fail(ErrorCode::corrupt, "announcement of a node: 'node_id' is empty");
  return announcement;
}

}  // namespace hearth::fleet
