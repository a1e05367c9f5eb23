#include "blob/remote_call.hpp"

#include "base/random_id.hpp"
#include "blob/bandwidth_limiter.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace hearth::blob {

namespace {

double chance() {
  return static_cast<double>(random_u64() >> 11) * 0x1p-53;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Duration asked_wait(const HttpReply& reply) {
  return seconds(std::min<uint64_t>(number(reply.header("retry-after")).value_or(0), 3600));
}

/// Only what may be different next time.
bool worth_repeating(const Error& error) {
  return error.code == ErrorCode::unavailable;
}

/// Waits as the back-off says; false: give up.
Result<bool> rest(RetryBackoff& backoff, const Patience& patience, Duration server_asks) {
  const auto wait = backoff.next(mono_now(), chance(), server_asks);
  if (!wait) return false;
  const auto left = patience.deadline.left(mono_now());
  if (left && *left <= *wait) return false;  // the last failure says more than "no time left"
  TRY_VOID(wait_for(*wait, patience));
  return true;
}

}  // namespace

Verdict verdict_of_status(int status) {
  const bool again = status == 408 || status == 429 || (status >= 500 && status != 501);
  return again ? Verdict::again : Verdict::done;
}

Result<RemoteAnswer> call_remote(HttpClient& client, const RemoteCall& call, const Patience& patience) {
  RetryBackoff backoff;
  RemoteAnswer answer;
  bool renewed = !call.renew;
  for (;;) {
    TRY(HttpRequest request, call.make());
    request.patience = patience;
    auto reply = client.exchange(request);
    Duration server_asks{};
    if (reply) {
      Verdict verdict = call.judge(*reply);
      server_asks = asked_wait(*reply);
      answer.reply = std::move(*reply);
      if (verdict == Verdict::renew && !renewed) {
        renewed = true;
        call.renew();
        continue;
      }
      if (verdict != Verdict::again) return answer;
      answer.earlier_attempt_unsure |= answer.reply.status >= 500;
    } else {
      if (!worth_repeating(reply.error())) return Unexpected(std::move(reply).error());
      answer.earlier_attempt_unsure = true;
    }
    TRY(const bool more, rest(backoff, patience, server_asks));
    if (more) continue;
    if (!reply) return Unexpected(std::move(reply).error());
    return answer;
  }
}

std::string range_header(ByteRange range) {
  std::string text = "bytes=" + std::to_string(range.offset) + "-";
  if (range.length != ByteRange::kToEnd) text += std::to_string(range.offset + range.length - 1);
  return text;
}

namespace {

/// A read under way, over all its attempts.
struct Reading {
  const RemoteRead* read;
  const ByteSink* sink;
  ByteRange left;        // what has not been delivered
  Result<> delivered{};  // the sink's own error

  /// The object's whole content is a right answer to "from the first byte on"; any other must be the range asked for.
  Result<> check_headers(const HttpReply& reply) {
    if (reply.status == 206) {
      std::string_view range = reply.header("content-range");
      if (!range.starts_with("bytes ")) return wrong("without saying which bytes");
      range.remove_prefix(6);
      const auto first = number(range.substr(0, range.find('-')));
      if (!first || *first != left.offset) return wrong("with another range: '" + std::string(range) + "'");
      return {};
    }
    if (left.offset == 0) return {};
    return wrong("with the whole object: it does not know ranges");
  }

  Unexpected wrong(const std::string& how) const {
    return fail(ErrorCode::corrupt, "the store answered for a part of " + read->name + " " + how);
  }

  Result<> take(std::string_view bytes) {
    const bool too_many = left.length != ByteRange::kToEnd && bytes.size() > left.length;
    if (too_many) bytes = bytes.substr(0, left.length);
    if (!bytes.empty()) delivered = (*sink)(bytes);
    if (!delivered) return delivered;
    left.offset += bytes.size();
    if (left.length != ByteRange::kToEnd) left.length -= bytes.size();
    if (too_many) return fail(ErrorCode::cancelled, "enough");  // ends the transfer: the rest is not wanted
    return {};
  }

  bool complete() const { return left.length == 0; }
};

}  // namespace

Result<> read_remote(HttpClient& client, const RemoteRead& read, ByteRange range, const ByteSink& sink,
                     const Patience& patience) {
  Reading reading{.read = &read, .sink = &sink, .left = range};
  RetryBackoff backoff(read.retries);
  bool renewed = !read.renew;
  while (!reading.complete()) {
    TRY(HttpRequest request, read.make(reading.left));
    request.patience = patience;
    request.on_headers = [&reading](const HttpReply& reply) { return reading.check_headers(reply); };
    request.sink = [&reading](std::string_view bytes) { return reading.take(bytes); };
    const uint64_t before = reading.left.offset;
    auto reply = client.exchange(request);
    if (!reading.delivered) return reading.delivered;
    if (reading.complete()) return {};
    if (reading.left.offset != before) backoff.reset();
    Duration server_asks{};
    if (reply) {
      if (reply->ok()) {
        if (range.length == ByteRange::kToEnd) return {};
        return fail(ErrorCode::corrupt, read.name + " ends at byte " + std::to_string(reading.left.offset) +
                                            ", wanted " + std::to_string(range.length) + " bytes from " +
                                            std::to_string(range.offset));
      }
      const Verdict verdict = read.judge(*reply);
      if (verdict == Verdict::renew && !renewed) {
        renewed = true;
        read.renew();
        continue;
      }
      if (verdict != Verdict::again) return read.error(*reply);
      server_asks = asked_wait(*reply);
    } else if (!worth_repeating(reply.error())) {
      return Unexpected(std::move(reply).error());
    }
    TRY(const bool more, rest(backoff, patience, server_asks));
    if (more) continue;
    return reply ? read.error(*reply) : Unexpected(std::move(reply).error());
  }
  return {};
}

}  // namespace hearth::blob
