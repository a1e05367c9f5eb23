#include "blob/pack_mirror.hpp"

#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/trimmed.hpp"
#include "blob/bandwidth_limiter.hpp"
#include "blob/breaker.hpp"
#include "blob/remote_call.hpp"
#include "blob/request_gate.hpp"
#include "blob/signed_url.hpp"

#include <atomic>
#include <mutex>

namespace hearth::blob {

namespace {

constexpr uint64_t kSecretMaxBytes = 4096;
constexpr size_t kSecretMinBytes = 16;

Result<std::string> read_secret(const std::filesystem::path& file) {
  if (file.empty()) return std::string();
  auto text = read_file(file, kSecretMaxBytes);
  if (!text) return fail_with_context("the secret of --pack-url", std::move(text).error());
  std::string_view secret = *text;
  while (secret.ends_with('\n')) secret.remove_suffix(1);
  secret = trimmed(secret);
  if (secret.size() < kSecretMinBytes) {
    return fail(ErrorCode::invalid_argument, "the secret of --pack-url in " + file.string() + " has fewer than " +
                                                 std::to_string(kSecretMinBytes) + " characters");
  }
  return std::string(secret);
}

/// How a try of the mirror ended, for the breaker: what the caller did says nothing about the mirror.
enum class Outcome { answered, failed, nothing };

Outcome outcome_of(const Result<>& result) {
  if (result) return Outcome::answered;
  switch (result.error().code) {
    case ErrorCode::not_found:  // it is there and answers; it only has no such object
      return Outcome::answered;
    case ErrorCode::cancelled:
    case ErrorCode::deadline_exceeded:
      return Outcome::nothing;
    default:
      return Outcome::failed;
  }
}

}  // namespace

struct PackMirror::State {
  State(const PackMirrorOptions& options, std::string its_secret, std::shared_ptr<RangeSource> behind)
      : url(options.url),
        secret(std::move(its_secret)),
        store(std::move(behind)),
        client({.connect_timeout = options.connect_timeout, .stall_timeout = options.stall_timeout}),
        gate(options.connections, std::max(1, options.connections / 2)) {}

  std::string url_of(std::string_view key) const {
    std::string whole = url + "/" + percent_encode(key, Slash::keep);
    if (secret.empty()) return whole;
    const size_t path = whole.find('/', whole.find("://") + 3);
    return whole + "?" + signed_url_query(secret, whole.substr(path), signed_url_expiry(wall_now()));
  }

  Result<> fetch(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options);
  bool may_try(const ReadOptions& options);
  void report(const Result<>& result, std::string_view key);

  const std::string url;
  const std::string secret;
  const std::shared_ptr<RangeSource> store;
  HttpClient client;
  RequestGate gate;
  std::mutex mutex;
  Breaker breaker;
  std::atomic<uint64_t> mirror_reads{0};
  std::atomic<uint64_t> mirror_bytes{0};
  std::atomic<uint64_t> fallbacks{0};
  std::atomic<uint64_t> skipped{0};
};

PackMirror::PackMirror(std::unique_ptr<State> state) : state_(std::move(state)) {}
PackMirror::~PackMirror() = default;

Result<std::unique_ptr<PackMirror>> PackMirror::open(const PackMirrorOptions& options,
                                                     std::shared_ptr<RangeSource> store) {
  PackMirrorOptions right = options;
  while (right.url.ends_with('/')) right.url.pop_back();
  const bool is_url = right.url.starts_with("http://") || right.url.starts_with("https://");
  if (!is_url || host_of(right.url).empty() || right.url.find_first_of("?#@") != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                "--pack-url '" + options.url + "' is no URL of a mirror; it is like https://cdn.example.org/hearth");
  }
  TRY(std::string secret, read_secret(right.secret_file));
  auto state = std::make_unique<State>(right, std::move(secret), std::move(store));
  return std::unique_ptr<PackMirror>(new PackMirror(std::move(state)));
}

Result<> PackMirror::State::fetch(std::string_view key, ByteRange range, const ByteSink& sink,
                                  const ReadOptions& options) {
  const Patience patience{.deadline = options.deadline, .stop = options.stop};
  TRY(const auto place, gate.enter(options.priority, patience));
  const std::string whole = url_of(key);
  const RemoteRead read{.make = [&whole](ByteRange part) -> Result<HttpRequest> {
                          return HttpRequest{.url = whole, .headers = {"Range: " + range_header(part)}};
                        },
                        .judge = [](const HttpReply&) { return Verdict::done; },
                        .renew = {},
                        .error =
                            [this, key](const HttpReply& reply) {
                              const bool absent = reply.status == 404;
                              return fail(absent ? ErrorCode::not_found : ErrorCode::unavailable,
                                          host_of(url) + " answered for " + std::string(key) + " with status " +
                                              std::to_string(reply.status));
                            },
                        .name = std::string(key),
                        .retries = kOnce};
  return read_remote(client, read, range, sink, patience);
}

bool PackMirror::State::may_try(const ReadOptions& options) {
  bool allowed = false;
  if (options.route == Route::nearest) {
    const std::lock_guard lock(mutex);
    allowed = breaker.may_try(mono_now());
  }
  if (!allowed) ++skipped;
  return allowed;
}

void PackMirror::State::report(const Result<>& result, std::string_view key) {
  const std::lock_guard lock(mutex);
  const bool was_open = breaker.open();
  switch (outcome_of(result)) {
    case Outcome::answered:
      breaker.on_success();
      break;
    case Outcome::nothing:
      breaker.on_nothing();
      break;
    case Outcome::failed:
      breaker.on_failure(mono_now());
      break;
  }
  if (was_open == breaker.open()) return;
  if (was_open) {
    log_info("the mirror answers again", {{"url", url}});
  } else {
    log_warning("the mirror is left alone for a while",
                {{"url", url}, {"key", key}, {"error", result.error().message}});
  }
}

Result<std::string> PackMirror::read(std::string_view key, uint64_t offset, uint64_t length,
                                     const ReadOptions& options) {
  // Before the breaker is asked: a try that is allowed must have an outcome.
  if (options.limiter != nullptr) {
    TRY_VOID(options.limiter->take(length, {.deadline = options.deadline, .stop = options.stop}));
  }
  ReadOptions paid = options;
  paid.limiter = nullptr;
  if (length == 0 || !state_->may_try(options)) return state_->store->read(key, offset, length, paid);
  std::string bytes;
  bytes.reserve(length);
  const auto read = state_->fetch(
      key, {offset, length},
      [&bytes](std::string_view more) -> Result<> {
        bytes.append(more);
        return {};
      },
      options);
  state_->report(read, key);
  if (read) {
    ++state_->mirror_reads;
    state_->mirror_bytes += bytes.size();
    if (options.came_by != nullptr) *options.came_by = Route::nearest;
    return bytes;
  }
  if (outcome_of(read) == Outcome::nothing) return Unexpected(read.error());
  ++state_->fallbacks;
  return state_->store->read(key, offset, length, paid);
}

Result<> PackMirror::stream(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options) {
  if (range.length == 0 || !state_->may_try(options)) return state_->store->stream(key, range, sink, options);
  const Patience patience{.deadline = options.deadline, .stop = options.stop};
  Result<> taken;
  ByteRange left = range;
  auto read = state_->fetch(
      key, range,
      [&](std::string_view bytes) -> Result<> {
        if (options.limiter != nullptr) taken = options.limiter->take(bytes.size(), patience);
        if (taken) taken = sink(bytes);
        if (!taken) return taken;
        left.offset += bytes.size();
        if (left.length != ByteRange::kToEnd) left.length -= bytes.size();
        state_->mirror_bytes += bytes.size();
        return {};
      },
      options);
  state_->report(taken ? read : Result<>{}, key);  // a sink's error is not the mirror's
  if (left.offset != range.offset) ++state_->mirror_reads;
  if (read || !taken || outcome_of(read) == Outcome::nothing) return read;
  ++state_->fallbacks;
  return state_->store->stream(key, left, sink, options);  // from where the mirror stopped
}

PackMirrorCounts PackMirror::counts() const {
  return {.mirror_reads = state_->mirror_reads,
          .mirror_bytes = state_->mirror_bytes,
          .fallbacks = state_->fallbacks,
          .skipped = state_->skipped};
}

}  // namespace hearth::blob
