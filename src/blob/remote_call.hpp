// A request to a remote store, made again while that can help: back-off, new credentials, resumed reads.
#pragma once

#include "blob/http_client.hpp"
#include "blob/object_store.hpp"
#include "blob/retry_backoff.hpp"

#include <functional>
#include <string>

namespace hearth::blob {

/// What an answer means. `renew`: the credentials were too old; tried once more with new ones.
enum class Verdict { done, again, renew };

/// Of any store's answers: 429 and 5xx (501 apart) and 408 are worth another try.
Verdict verdict_of_status(int status);

/// For requests that have a better second try.
inline constexpr RetryLimits kOnce{.total = Duration(-1)};

struct RemoteCall {
  /// The request, signed anew for each attempt. Its patience is set by the caller.
  std::function<Result<HttpRequest>()> make;
  std::function<Verdict(const HttpReply&)> judge;
  /// Drops the credentials the last attempt used. Optional.
  std::function<void()> renew;
};

struct RemoteAnswer {
  HttpReply reply;                      // the last one, whatever its status
  bool earlier_attempt_unsure = false;  // one may have taken effect although its answer was lost
};

/// The first answer that is `done`, or the last one when time is up. Error: no answer at all (unavailable, …).
Result<RemoteAnswer> call_remote(HttpClient& client, const RemoteCall& call, const Patience& patience);

struct RemoteRead {
  /// The request for this range of the object.
  std::function<Result<HttpRequest>(ByteRange)> make;
  std::function<Verdict(const HttpReply&)> judge;
  std::function<void()> renew;
  /// The error that an answer that is no 2xx stands for.
  std::function<Unexpected(const HttpReply&)> error;
  std::string name;  // of the object, for errors
  RetryLimits retries{};
};

/// Streams a range; after a cut it goes on where it stopped. corrupt when the object is shorter, or the server sends
/// another range than was asked for.
Result<> read_remote(HttpClient& client, const RemoteRead& read, ByteRange range, const ByteSink& sink,
                     const Patience& patience);

/// "bytes=0-99", "bytes=100-".
std::string range_header(ByteRange range);

}  // namespace hearth::blob
