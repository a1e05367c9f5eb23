#include "record/usage_table.hpp"

#include "record/json_text.hpp"
#include "record/request_record.hpp"

#include <nlohmann/json.hpp>

#include <optional>

namespace hearth::record {
namespace {

using nlohmann::json;

struct Row {
  UsageKey key;
  UsageCounts counts;
};

int64_t minute_of(WallTime time) {
  return std::chrono::floor<std::chrono::minutes>(time.time_since_epoch()).count();
}

/// The fields append_json_line writes first, in its order. nullopt when a name holds an escape, or it is another line.
std::optional<Row> read_fixed(std::string_view line) {
  Row row;
  LineCursor at(line);
  at.expect("{\"workspace\":\"");
  row.key.workspace = at.plain_string();
  at.expect(",\"model\":\"");
  row.key.model = at.plain_string();
  at.expect(",\"branch\":\"");
  row.key.branch = at.plain_string();
  at.expect(",\"version\":");
  row.key.version = static_cast<uint32_t>(at.number());
  at.expect(",\"key_id\":\"");
  row.key.key_id = at.plain_string();
  at.expect(",\"started\":\"");
  const auto started = from_iso8601(at.plain_string());
  at.expect(",\"status\":");
  row.counts.requests = 1;
  row.counts.failed = at.number() >= 400 ? 1 : 0;
  at.expect(",\"rows\":");
  row.counts.rows = at.number();
  at.expect(",\"failed_rows\":");
  row.counts.failed_rows = at.number();
  at.expect(",\"run_us\":");
  row.counts.run_us = at.number();
  at.expect(",\"cpu_us\":");
  row.counts.cpu_us = at.number();
  at.expect(",\"bytes_in\":");
  row.counts.bytes_in = at.number();
  at.expect(",\"bytes_out\":");
  row.counts.bytes_out = at.number();
  if (!at.ok() || !started || !line.ends_with('}')) return std::nullopt;
  row.key.minute = minute_of(*started);
  return row;
}

Row row_of(const RequestRecord& record) {
  return {{record.workspace, record.model, record.branch, record.version, record.key_id, minute_of(record.started)},
          {1, record.status >= 400 ? 1u : 0u, record.rows, record.failed_rows,
           static_cast<uint64_t>(record.timings.run.count()), record.cpu_us, record.bytes_in, record.bytes_out}};
}

std::optional<Row> read_usage(std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("requests")) return std::nullopt;
  const auto text = [&object](const char* key) { return object.value(key, std::string()); };
  const auto count = [&object](const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : uint64_t{0};
  };
  for (const char* key : {"workspace", "model", "branch", "key_id", "minute"}) {
    if (!object.contains(key) || !object[key].is_string()) return std::nullopt;
  }
  const auto minute = from_iso8601(text("minute"));
  if (!minute) return std::nullopt;
  return Row{{text("workspace"), text("model"), text("branch"), static_cast<uint32_t>(count("version")), text("key_id"),
              minute_of(*minute)},
             {count("requests"), count("failed"), count("rows"), count("failed_rows"), count("run_us"), count("cpu_us"),
              count("bytes_in"), count("bytes_out")}};
}

void append_row(std::string& out, const UsageKey& key, const UsageCounts& counts) {
  const auto text = [&out](std::string_view name, std::string_view value) {
    out += name;
    append_json_string(out, value);
  };
  const auto number = [&out](std::string_view name, uint64_t value) {
    out += name;
    append_number(out, value);
  };
  text("{\"minute\":", to_iso8601(WallTime(std::chrono::minutes(key.minute))));
  text(",\"workspace\":", key.workspace);
  text(",\"model\":", key.model);
  text(",\"branch\":", key.branch);
  number(",\"version\":", key.version);
  text(",\"key_id\":", key.key_id);
  number(",\"requests\":", counts.requests);
  number(",\"failed\":", counts.failed);
  number(",\"rows\":", counts.rows);
  number(",\"failed_rows\":", counts.failed_rows);
  number(",\"run_us\":", counts.run_us);
  number(",\"cpu_us\":", counts.cpu_us);
  number(",\"bytes_in\":", counts.bytes_in);
  number(",\"bytes_out\":", counts.bytes_out);
  out += "}\n";
}

}  // namespace

UsageCounts& UsageCounts::operator+=(const UsageCounts& other) {
  requests += other.requests;
  failed += other.failed;
  rows += other.rows;
  failed_rows += other.failed_rows;
  run_us += other.run_us;
  cpu_us += other.cpu_us;
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  return *this;
}

bool UsageTable::add_line(std::string_view line) {
  if (const auto row = read_fixed(line)) {
    add(row->key, row->counts);
    return true;
  }
  if (const auto row = read_usage(line)) {
    add(row->key, row->counts);
    return true;
  }
  const auto record = parse_record(line);
  if (!record) return false;
  const Row row = row_of(*record);
  add(row.key, row.counts);
  return true;
}

std::string UsageTable::to_lines(std::string_view workspace) const {
  std::string out;
  for (const auto& [key, counts] : rows_) {
    if (workspace.empty() || key.workspace == workspace) append_row(out, key, counts);
  }
  return out;
}

}  // namespace hearth::record
