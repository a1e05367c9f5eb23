#include "router/inference_api.hpp"

#include "base/random_id.hpp"
#include "policy/row_order.hpp"
#include "router/inference_path.hpp"

#include <algorithm>
#include <utility>

namespace hearth::router {
namespace {

constexpr size_t kRoutesMax = 10'000;
constexpr size_t kRequestIdMax = 128;
constexpr int kClientClosed = 499;  // stands in logs and metrics only

bool is_request_id(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  };
  return !text.empty() && text.size() <= kRequestIdMax && std::ranges::all_of(text, allowed);
}

microseconds to_us(Duration duration) {
  return std::chrono::duration_cast<microseconds>(duration);
}

}  // namespace

InferenceApi::InferenceApi(const Config& config, CatalogCache& catalog, Dispatcher& dispatcher, MetricRegistry& metrics)
    : config_(config), catalog_(catalog), dispatcher_(dispatcher), metrics_(metrics), id_prefix_(random_id(8)) {}

/// Unique by the random prefix of the process; 15 characters, so that it never needs memory of its own.
std::string InferenceApi::make_request_id() {
  constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string id = id_prefix_;
  uint64_t count = id_count_++;
  for (int i = 0; i < 7; ++i, count >>= 5) id += kDigits[count & 31];
  return id;
}

void InferenceApi::handle(net::HttpRequest&& http, std::shared_ptr<net::HttpExchange> exchange) {
  auto request = std::make_unique<PendingRequest>();
  request->arrived = mono_now();
  request->started = wall_now();
  request->http = std::move(http);
  request->exchange = std::move(exchange);
  const std::string_view given = request->http.headers.find("X-Request-Id").value_or("");
  request->request_id = is_request_id(given) ? std::string(given) : make_request_id();
  if (request->http.method != "POST") return reject(*request, 405, "inference takes POST");
  admit(std::move(request), Try::first);
}

void InferenceApi::admit(std::unique_ptr<PendingRequest> owned, Try attempt) {
  PendingRequest& request = *owned;
  const std::shared_ptr<const catalog::Snapshot> snapshot = catalog_.snapshot();
  if (!snapshot) {
    if (attempt ==
        Try::first) {  // a router that has just started: whoever waited in its listener waits for the first read too
      return catalog_.refresh(
          [this, request = std::move(owned)]() mutable { admit(std::move(request), Try::refreshed); });
    }
    return respond(request,
                   refusal(503, "the catalog could not be read yet; is the object store reachable?", seconds(2)));
  }
  const Admittance admitted = admit_caller(request.http, *snapshot);
  switch (admitted.entry) {
    case Entry::granted:
      break;
    case Entry::no_key:
      return reject(request, 401, "no API key: send it as \"Authorization: Bearer <key>\"");
    case Entry::unknown_key:
      if (attempt == Try::first) return refresh_and_retry(std::move(owned));
      return reject(request, 401, "the API key is not known or was revoked");
    case Entry::other_workspace:
      return reject(request, 403, "the API key belongs to another workspace");
  }
  request.key_id = admitted.key->id;
  request.fairness_key = std::hash<std::string_view>{}(request.key_id);
  const auto found = route(request.http, admitted.key->workspace);
  if (!found) {
    if (attempt == Try::first && found.error().code == ErrorCode::not_found) return refresh_and_retry(std::move(owned));
    return reject(request, found.error().code == ErrorCode::not_found ? 404 : 400, found.error().message);
  }
  request.target = (*found)->target;
  request.alias = (*found)->alias;
  if (const auto read = read_body(request, request.target->record->config.timeouts); !read) {
    Answer answer = refusal(read.error().code == ErrorCode::exhausted ? 413 : 400, read.error().message);
    return finished(request, &answer);
  }
  dispatcher_.submit(std::move(owned));
}

void InferenceApi::refresh_and_retry(std::unique_ptr<PendingRequest> request) {
  catalog_.refresh_for_unknown(
      [this, request = std::move(request)]() mutable { admit(std::move(request), Try::refreshed); });
}

Result<const InferenceApi::Route*> InferenceApi::route(const net::HttpRequest& request, const std::string& workspace) {
  const std::string_view path = request.path();
  route_key_.assign(workspace).append(1, '\n').append(path);
  if (const auto known = routes_.find(route_key_); known != routes_.end()) return &known->second;
  TRY(const InferencePath names, parse_inference_path(path));
  const catalog::BranchRef branch{.workspace = workspace, .model = names.model, .branch = names.branch};
  TRY(catalog::Resolved resolved, catalog_.snapshot()->resolve(branch, names.version));
  if (routes_.size() >= kRoutesMax) routes_.clear();
  VersionTarget& target = dispatcher_.target_of(resolved.record);
  Route& made = routes_[route_key_];
  made = {.record = std::move(resolved.record), .alias = std::move(resolved.alias), .target = &target};
  return &made;
}

Result<> InferenceApi::read_body(PendingRequest& request, const catalog::TimeoutConfig& timeouts) const {
  TRY(request.body, parse_inference_body(request.http.body));
  if (const auto include = request.http.headers.find("X-Hearth-Include")) {
    TRY_VOID(add_includes(*include, request.body.include));
  }
  if (request.is_batch()) {
    std::vector<std::string_view> ids;
    ids.reserve(request.body.rows.size());
    for (const RowSpan& row : request.body.rows) ids.push_back(row.id);
    TRY(request.order, policy::order_rows(ids));
  }
  Duration timeout = timeouts.request;
  if (request.body.timeout_seconds) {
    const Duration longest = std::max<Duration>(config_.longest_timeout, timeouts.request);
    const std::chrono::duration<double> wanted(std::min(*request.body.timeout_seconds, 1e6));
    timeout = std::min(std::chrono::duration_cast<Duration>(wanted), longest);
  }
  request.deadline = Deadline::after(request.arrived, timeout);
  return {};
}

/// Refused before it is known which version it means: counted, not recorded.
void InferenceApi::reject(PendingRequest& request, int status, std::string_view message) {
  metrics_
      .counter("hearth_rejected_total", "Requests refused before a version was known, by HTTP status.",
               {{"status", std::to_string(status)}})
      .add();
  respond(request, refusal(status, message));
}

void InferenceApi::respond(PendingRequest& request, Answer&& answer) {
  net::HttpResponse response{.status = answer.status, .body = std::move(answer.body)};
  response.headers.reserve(2);
  response.headers.emplace_back("X-Request-Id", std::move(request.request_id));
  if (answer.retry_after) response.headers.emplace_back("Retry-After", std::to_string(answer.retry_after->count()));
  if (answer.status == 429) response.headers.emplace_back("X-Overload", "1");
  if (answer.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (answer.status == 405) response.headers.emplace_back("Allow", "POST");
  request.exchange->respond(std::move(response));
}

void InferenceApi::finished(PendingRequest& request, Answer* answer) {
  VersionMetrics& metrics = request.target->metrics;
  const Duration total = mono_now() - request.arrived;
  metrics.requests(answer == nullptr ? kClientClosed : answer->status).add();
  metrics.rows.add(request.answered_rows);
  metrics.total.observe(total);
  if (request.measured.first_sent != MonoTime{}) {
    metrics.queue.observe(request.measured.first_sent - request.arrived);
    metrics.wait.observe(microseconds(request.measured.wait_us));
    metrics.run.observe(microseconds(request.measured.run_us));
  }
  if (record_) write_record(request, answer, total);
  if (answer != nullptr) respond(request, std::move(*answer));
}

void InferenceApi::write_record(const PendingRequest& request, const Answer* answer, Duration total) {
  const catalog::VersionRecord& version = *request.target->record;
  const Measured& measured = request.measured;
  record::RequestRecord& out = scratch_;  // reused: its strings keep their memory
  out.id = request.request_id;
  out.workspace = version.branch.workspace;
  out.model = version.branch.model;
  out.branch = version.branch.branch;
  out.version = version.version;
  out.alias = request.alias;
  out.key_id = request.key_id;
  out.started = request.started;
  const bool sent = measured.first_sent != MonoTime{};
  out.timings = {.queue = to_us(sent ? measured.first_sent - request.arrived : total),
                 .wait = microseconds(measured.wait_us),
                 .run = microseconds(measured.run_us),
                 .total = to_us(total)};
  out.status = static_cast<uint32_t>(answer == nullptr ? kClientClosed : answer->status);
  out.rows = static_cast<uint32_t>(request.body.rows.size());
  out.failed_rows = request.failed_rows;
  const size_t most = record::RequestRecord::kTextLimit + 1;  // one more, so that the cut is noticed
  out.results = answer == nullptr ? std::string_view() : answer->data().substr(0, most);
  out.stdout_text = std::string_view(request.stdout_text).substr(0, most);
  out.stderr_text = std::string_view(request.stderr_text).substr(0, most);
  out.error =
      answer == nullptr ? std::string_view("{\"error\":\"the client closed the connection\"}") : answer->error();
  out.cpu_us = measured.cpu_us;
  out.rss_kib = measured.rss_kib;
  out.bytes_in = request.http.body.size();
  out.bytes_out = answer == nullptr ? 0 : answer->body.size();
  out.node = dispatcher_.node().node_id();
  record_(out);
}

}  // namespace hearth::router
