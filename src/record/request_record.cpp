#include "record/request_record.hpp"

#include "record/json_text.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace hearth::record {
namespace {

using nlohmann::json;
using std::chrono::microseconds;

/// `"key":` is part of `name`, with the comma in front: one append instead of four.
void append_text(std::string& out, std::string_view name, std::string_view text) {
  out += name;
  append_json_string(out, text);
}

void append_count(std::string& out, std::string_view name, uint64_t count) {
  out += name;
  append_number(out, count);
}

void append_count(std::string& out, std::string_view name, microseconds duration) {
  append_count(out, name, duration.count() < 0 ? 0 : static_cast<uint64_t>(duration.count()));
}

/// Cut at the limit, not inside a UTF-8 sequence.
std::string_view bounded(std::string_view text) {
  if (text.size() <= RequestRecord::kTextLimit) return text;
  size_t end = RequestRecord::kTextLimit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

void append_optional(std::string& out, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  append_text(out, name, bounded(text));
}

/// Absent and mistyped fields keep their defaults: what is stored was written by append_json_line.
void read(const json& object, const char* key, std::string& value) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_string()) value = found->get_ref<const std::string&>();
}

uint64_t count(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

Result<json> parse_line(std::string_view line) {
  json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("id")) return fail(ErrorCode::corrupt, "not a request record");
  return object;
}

}  // namespace

// The order of the first fields, up to bytes_out, is what UsageTable::add_line reads (usage_table.cpp).
void append_json_line(std::string& out, const RequestRecord& record, Texts texts) {
  append_text(out, "{\"workspace\":", record.workspace);
  append_text(out, ",\"model\":", record.model);
  append_text(out, ",\"branch\":", record.branch);
  append_count(out, ",\"version\":", record.version);
  append_text(out, ",\"key_id\":", record.key_id);
  append_text(out, ",\"started\":", to_iso8601(record.started));
  append_count(out, ",\"status\":", record.status);
  append_count(out, ",\"rows\":", record.rows);
  append_count(out, ",\"failed_rows\":", record.failed_rows);
  append_count(out, ",\"run_us\":", record.timings.run);
  append_count(out, ",\"cpu_us\":", record.cpu_us);
  append_count(out, ",\"bytes_in\":", record.bytes_in);
  append_count(out, ",\"bytes_out\":", record.bytes_out);
  append_text(out, ",\"alias\":", record.alias);
  append_text(out, ",\"id\":", record.id);
  append_count(out, ",\"queue_us\":", record.timings.queue);
  append_count(out, ",\"wait_us\":", record.timings.wait);
  append_count(out, ",\"total_us\":", record.timings.total);
  append_count(out, ",\"rss_kib\":", record.rss_kib);
  append_text(out, ",\"node\":", record.node);
  append_text(out, ",\"replica\":", record.replica);
  if (texts == Texts::keep) {
    append_optional(out, ",\"results\":", record.results);
    append_optional(out, ",\"stdout\":", record.stdout_text);
    append_optional(out, ",\"stderr\":", record.stderr_text);
    append_optional(out, ",\"error\":", record.error);
  }
  out += "}\n";
}

Result<RequestRecord> parse_record(std::string_view json_line) {
  TRY(const json object, parse_line(json_line));
  RequestRecord record;
  std::string started;
  read(object, "id", record.id);
  read(object, "workspace", record.workspace);
  read(object, "model", record.model);
  read(object, "branch", record.branch);
  record.version = static_cast<uint32_t>(count(object, "version"));
  read(object, "alias", record.alias);
  read(object, "key_id", record.key_id);
  read(object, "started", started);
  record.started = from_iso8601(started).value_or(WallTime{});
  record.timings.queue = microseconds(count(object, "queue_us"));
  record.timings.wait = microseconds(count(object, "wait_us"));
  record.timings.run = microseconds(count(object, "run_us"));
  record.timings.total = microseconds(count(object, "total_us"));
  record.status = static_cast<uint32_t>(count(object, "status"));
  record.rows = static_cast<uint32_t>(count(object, "rows"));
  record.failed_rows = static_cast<uint32_t>(count(object, "failed_rows"));
  read(object, "results", record.results);
  read(object, "stdout", record.stdout_text);
  read(object, "stderr", record.stderr_text);
  read(object, "error", record.error);
  record.cpu_us = count(object, "cpu_us");
  record.rss_kib = count(object, "rss_kib");
  record.bytes_in = count(object, "bytes_in");
  record.bytes_out = count(object, "bytes_out");
  read(object, "node", record.node);
  read(object, "replica", record.replica);
  return record;
}

/// Nested as text, never as a document: a model may answer with brackets in brackets without end, and writing such a
/// document recurses.
Result<std::string> readable_line(std::string_view json_line) {
  TRY(json object, parse_line(json_line));
  std::string nested;
  for (const char* key : {"results", "error"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) continue;
    std::string text = found->get<std::string>();
    if (!json::accept(text)) continue;
    // White space between values alone: inside strings newlines are escaped.
    std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    nested += fmt::format(",\"{}\":{}", key, text);
    object.erase(found);
  }
  std::string line = object.dump(-1, ' ', false, json::error_handler_t::replace);
  line.insert(line.size() - 1, nested);
  return line;
}

}  // namespace hearth::record
