#include "control/handlers.hpp"
#include "control/request_json.hpp"
#include "record/record_reader.hpp"

#include <algorithm>
#include <utility>

namespace hearth::control {
namespace {

constexpr uint64_t kLimitMax = 100'000;
constexpr Duration kFollowEvery = milliseconds(300);
constexpr int kHeartbeatTurns = 50;            // 15 s
constexpr size_t kAheadMax = size_t{4} << 20;  // bytes a slow client may be behind

Result<record::RecordQuery> read_query(const AdminCall& call) {
  record::RecordQuery query{.workspace = call.caller.workspace, .model = call.arguments[0]};
  TRY(const catalog::BranchRef branch, branch_of_query(call, query.model));
  if (call.request.query_value("branch")) query.branch = branch.branch;
  TRY(const auto version, number_of_query(call, "version", UINT32_MAX));
  if (version) query.version = static_cast<uint32_t>(*version);
  TRY(query.since, since_of_query(call));
  TRY(const auto limit, number_of_query(call, "limit", kLimitMax));
  if (limit) query.limit = *limit;
  return query;
}

bool knows_model(Control& control, const AdminCall& call) {
  const auto snapshot = control.host.snapshot();
  if (!snapshot) return false;
  for (const auto& [branch, state] : snapshot->branches()) {
    if (branch.workspace == call.caller.workspace && branch.model == call.arguments[0]) return true;
  }
  return false;
}

void write_lines(net::HttpExchange& exchange, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) exchange.write(line + "\n");
}

/// What one look at the spool found.
struct Followed {
  std::vector<std::string> lines;
  record::SpoolPosition position;
};

net::Task<> follow(Control& control, CallPtr call, record::RecordQuery query, Followed shown) {
  record::SpoolPosition position = shown.position;
  net::HttpExchange& exchange = *call->exchange;
  int quiet_turns = 0;
  while (!exchange.is_closed()) {
    const net::Wake wake = co_await control.host.loop().sleep(kFollowEvery);
    if (wake == net::Wake::stopping) co_return;
    if (exchange.pending_bytes() > kAheadMax) continue;
    auto look = [store = control.host.store(), spool = control.host.spool(), query, position]() -> Result<Followed> {
      Followed found{.position = position};
      TRY(found.lines, record::RecordReader(spool, store).follow(query, found.position));
      return found;
    };
    Result<Followed> found = co_await in_pool(control, std::move(look));
    if (!found) co_return;
    position = found->position;
    // What was written between taking the position and searching has been shown already.
    std::erase_if(found->lines, [&shown](const std::string& line) {
      return std::ranges::find(shown.lines, line) != shown.lines.end();
    });
    shown.lines.clear();
    write_lines(exchange, found->lines);
    quiet_turns = found->lines.empty() ? quiet_turns + 1 : 0;
    if (quiet_turns % kHeartbeatTurns == kHeartbeatTurns - 1) exchange.write("\n");
  }
}

}  // namespace

Answer stream_logs(Control& control, CallPtr call) {
  CO_TRY(record::RecordQuery query, read_query(*call));
  const bool following = call->request.query_value("follow").value_or("0") == "1";
  auto search = [store = control.host.store(), spool = control.host.spool(), query]() -> Result<Followed> {
    const record::RecordReader reader(spool, store);
    Followed found;
    TRY(found.position, reader.position());  // first: what comes after it is followed, and not shown twice
    TRY(found.lines, reader.query(query));
    return found;
  };
  Result<Followed> found = co_await in_pool(control, std::move(search));
  if (!found) co_return Unexpected(found.error());
  if (found->lines.empty() && !knows_model(control, *call)) {
    co_return fail(ErrorCode::not_found, "no model '" + call->arguments[0] + "' and no records of it");
  }
  call->exchange->start_stream({.content_type = "application/x-ndjson"});
  write_lines(*call->exchange, found->lines);
  if (following) {
    co_await follow(control, call, std::move(query), std::move(*found));
  }
  call->exchange->finish();
  co_return Reply{};
}

}  // namespace hearth::control
