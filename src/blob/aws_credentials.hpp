// Where AWS keys come from: environment, web identity, profile, container or instance role, in that order.
#pragma once

#include "base/result.hpp"
#include "blob/renewed.hpp"
#include "blob/sigv4.hpp"
#include "blob/store_environment.hpp"

#include <memory>
#include <string>

namespace hearth::blob {

using AwsCredentials = Renewed<AwsKeys>;

struct AwsCredentialOptions {
  StoreEnvironment environment;
  std::string profile = "default";
  std::string region = "us-east-1";  // of STS
};

/// One look at all sources; blocks on the network for some of them. The first source that is configured decides: when
/// it fails, the error is its own. denied when none is, with what to set.
Result<AwsCredentials::Fetched> fetch_aws_keys(const AwsCredentialOptions& options);

}  // namespace hearth::blob
