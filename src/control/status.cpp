#include "control/handlers.hpp"
#include "control/node_status.hpp"
#include "control/request_json.hpp"
#include "record/record_reader.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kStatusPatience = seconds(3);

Json usage_json(const record::UsageTotal& total) {
  return {{"model", total.model},        {"branch", total.branch}, {"version", total.version},
          {"requests", total.requests},  {"rows", total.rows},     {"failed_rows", total.failed_rows},
          {"run_us", total.run_us},      {"cpu_us", total.cpu_us}, {"bytes_in", total.bytes_in},
          {"bytes_out", total.bytes_out}};
}

}  // namespace

net::Task<Json> node_status(Control& control, std::string workspace) {
  Json status = {{"nodes", Json::array()}, {"replicas", Json::array()}};
  if (!control.host.node_connected()) co_return status;
  const std::string no_params = "{}";
  Result<std::string> answer = co_await ask_node(control, "status", no_params, nullptr, kStatusPatience);
  if (!answer) co_return status;
  const Json node = Json::parse(*answer, nullptr, false);
  if (!node.is_object()) co_return status;
  status["nodes"].push_back(
      {{"node", node.value("node", Json())}, {"resources", node.value("resources", Json::object())}});
  const Json replicas = node.value("replicas", Json::array());
  for (const Json& replica : replicas) {
    if (replica.is_object() && replica.value("workspace", Json()) == workspace) status["replicas"].push_back(replica);
  }
  co_return status;
}

Answer get_status(Control& control, CallPtr call) {
  Json status = co_await node_status(control, call->caller.workspace);
  co_return Reply{.body = status.dump()};
}

Answer get_usage(Control& control, CallPtr call) {
  CO_TRY(std::optional<WallTime> since, since_of_query(*call));
  auto add_up = [store = control.host.store(), spool = control.host.spool(), call, since] {
    return record::RecordReader(spool, store).usage(call->caller.workspace, since);
  };
  Result<std::vector<record::UsageTotal>> totals = co_await in_pool(control, std::move(add_up));
  if (!totals) co_return Unexpected(totals.error());
  Json usage = Json::array();
  for (const record::UsageTotal& total : *totals) usage.push_back(usage_json(total));
  co_return Reply{.body = Json{{"usage", usage}}.dump()};
}

}  // namespace hearth::control
