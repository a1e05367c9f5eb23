// ~/.aws/credentials and ~/.aws/config: the keys and the region of a profile.
#pragma once

#include "blob/sigv4.hpp"
#include "blob/store_environment.hpp"

#include <string>
#include <string_view>

namespace hearth::blob {

struct AwsProfile {
  AwsKeys keys;  // empty id: the profile has none
  std::string region;
  std::string unsupported;  // how the profile gets its keys, when that is a way we do not know: "sso_session"
  std::string file;         // where its keys were looked for

  /// Files that are not there, or not readable, count as empty. AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE say
  /// where they are. Keys in the credentials file win over those in the config file.
  static AwsProfile read(const StoreEnvironment& environment, std::string_view name);
};

/// The settings of one section of such a file, put into `profile`.
void read_aws_section(std::string_view text, std::string_view section, AwsProfile& profile);

}  // namespace hearth::blob
