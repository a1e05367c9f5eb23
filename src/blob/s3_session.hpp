// Signed requests to one S3 bucket, repeated where that helps, and what its error answers mean.
#pragma once

#include "blob/aws_credentials.hpp"
#include "blob/http_client.hpp"
#include "blob/remote_call.hpp"
#include "blob/s3_answers.hpp"
#include "blob/sigv4.hpp"
#include "blob/store_environment.hpp"
#include "blob/store_url.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::blob {

struct S3Request {
  std::string method = "GET";
  std::string object{};  // name with the prefix; empty: the bucket itself
  NameValues query{};
  NameValues headers{};  // signed; names in lower case
  std::optional<HttpBody> body{};
};

/// Thread-safe; calls block.
class S3Session {
 public:
  S3Session(S3Location location, StoreEnvironment environment);

  const S3Location& location() const { return location_; }

  /// The answer, of whatever status. Error: none came.
  Result<RemoteAnswer> call(const S3Request& request, const Patience& patience);
  /// Streams a range of an object, resumed after cuts.
  Result<> read(const std::string& object, ByteRange range, const ByteSink& sink, const Patience& patience);

  /// The error that an answer stands for, with what to do. `what`: "read object x".
  Unexpected failed(const std::string& what, const HttpReply& reply) const;

 private:
  Result<HttpRequest> sign(const S3Request& request, const std::string& payload_sha256);
  Verdict judge(const HttpReply& reply) const;
  void renew();
  std::string place() const;  // "s3://bucket at https://…"

  const S3Location location_;
  HttpClient client_;
  AwsCredentials credentials_;
  std::mutex mutex_;
  std::shared_ptr<const AwsKeys> last_used_;  // what a refusal is about
};

}  // namespace hearth::blob
