#include "router/answer.hpp"

#include "router/json_cursor.hpp"

#include <fmt/format.h>

#include <iterator>

namespace hearth::router {
namespace {

double to_ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// `,"stdout":…` as asked for.
void append_included(std::string& out, const PendingRequest& request, MonoTime now) {
  const Include& include = request.body.include;
  if (include.stdout_text) out += ",\"stdout\":" + net::json_quote(request.stdout_text);
  if (include.stderr_text) out += ",\"stderr\":" + net::json_quote(request.stderr_text);
  if (!include.timings) return;
  const Measured& measured = request.measured;
  const Duration queued = measured.first_sent == MonoTime{} ? Duration{} : measured.first_sent - request.arrived;
  fmt::format_to(std::back_inserter(out),
                 R"(,"timings":{{"queue_ms":{:.3f},"wait_ms":{:.3f},"run_ms":{:.3f},"total_ms":{:.3f}}})",
                 to_ms(queued), static_cast<double>(measured.wait_us) / 1e3, static_cast<double>(measured.run_us) / 1e3,
                 to_ms(now - request.arrived));
}

/// The worker's error object, or one made of what came instead.
std::string error_object(std::string_view value) {
  if (value.size() >= 2 && value.front() == '{' && value.back() == '}') return std::string(value);
  return "{\"error\":" + net::json_quote(value.empty() ? "the model gave no reason" : value) + "}";
}

Answer single_answer(const PendingRequest& request, std::string_view value, MonoTime now) {
  const wire::Status status = request.rows.front().status;
  Answer answer{.status = http_status(status)};
  if (status == wire::Status::ok) {
    answer.body.reserve(value.size() + 16);
    answer.body += "{\"data\":";
    answer.data_at = answer.body.size();
    answer.data_size = value.size();
    answer.body += value;
  } else {
    answer.body = error_object(value);
    answer.body.pop_back();
  }
  append_included(answer.body, request, now);
  answer.body += '}';
  if (status != wire::Status::ok) answer.error_size = answer.body.size();
  return answer;
}

Answer batch_answer(const PendingRequest& request, MonoTime now) {
  Answer answer;
  size_t size = 64;
  for (const PendingRow& row : request.rows) size += row.value.size() + 32;
  answer.body.reserve(size);
  answer.body += "{\"data\":[";
  answer.data_at = answer.body.size() - 1;
  std::string error;
  for (const uint32_t index : request.order) {
    const PendingRow& row = request.rows[index];
    const std::string_view id = request.body.rows[index].id;
    if (answer.body.back() != '[') answer.body += ',';
    answer.body += '[';
    answer.body += id;
    answer.body += ',';
    answer.body += row.status == wire::Status::ok ? row.value : error_object(row.value);
    answer.body += ']';
    if (row.status == wire::Status::ok || answer.status != 200) continue;
    answer.status = http_status(row.status);
    const std::string literal = error_literal(row.value);
    const std::string_view inner_id = id.starts_with('"') ? id.substr(1, id.size() - 2) : id;
    error = fmt::format("\"{} of {} rows failed, first row {}: {}", request.failed_rows, request.rows.size(), inner_id,
                        std::string_view(literal).substr(1));
  }
  answer.body += ']';
  answer.data_size = answer.body.size() - answer.data_at;
  append_included(answer.body, request, now);
  if (!error.empty()) {
    answer.body += ",\"error\":";
    answer.error_at = answer.body.size();
    answer.error_size = error.size();
    answer.body += error;
  }
  answer.body += '}';
  return answer;
}

}  // namespace

int http_status(wire::Status status) {
  switch (status) {
    case wire::Status::ok:
      return 200;
    case wire::Status::malformed:
      return 400;
    case wire::Status::raised:
    case wire::Status::unsendable:
      return 422;
    case wire::Status::deadline:
    case wire::Status::cancelled:
      return 408;
    case wire::Status::worker_died:
      return 502;
    case wire::Status::overloaded:
      return 429;
    case wire::Status::not_ready:
    case wire::Status::unknown:
      return 503;
    case wire::Status::internal:
      return 500;
  }
  return 500;
}

Answer refusal(int status, std::string_view message, std::optional<seconds> retry_after) {
  Answer answer{.status = status, .body = "{\"error\":" + net::json_quote(message) + "}", .retry_after = retry_after};
  answer.error_size = answer.body.size();
  return answer;
}

Answer compose_answer(const PendingRequest& request, std::string_view single_value, MonoTime now) {
  return request.is_batch() ? batch_answer(request, now) : single_answer(request, single_value, now);
}

std::string error_literal(std::string_view object) {
  JsonCursor cursor(object);
  if (cursor.consume('{') && cursor.enter()) {
    do {
      std::string_view key;
      std::string_view value;
      if (!cursor.string(key) || !cursor.expect(':') || !cursor.value(value)) break;
      if (key == "\"error\"" && value.starts_with('"')) return std::string(value);
    } while (cursor.consume(','));
  }
  return net::json_quote(object.empty() ? "the model gave no reason" : object);
}

}  // namespace hearth::router
