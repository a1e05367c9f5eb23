#include "blob/aws_profile.hpp"

#include "base/file.hpp"
#include "base/trimmed.hpp"

#include <algorithm>
#include <array>

namespace hearth::blob {

namespace {

constexpr uint64_t kFileMaxBytes = 1024 * 1024;
constexpr std::array<std::string_view, 5> kOtherWays = {"sso_session", "sso_start_url", "credential_process",
                                                        "role_arn", "web_identity_token_file"};

void take(std::string_view name, std::string_view value, AwsProfile& profile) {
  if (name == "aws_access_key_id") profile.keys.id = value;
  if (name == "aws_secret_access_key") profile.keys.secret = value;
  if (name == "aws_session_token") profile.keys.token = value;
  if (name == "region") profile.region = value;
  if (std::ranges::find(kOtherWays, name) != kOtherWays.end()) profile.unsupported = name;
}

}  // namespace

void read_aws_section(std::string_view text, std::string_view section, AwsProfile& profile) {
  bool inside = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = trimmed(raw);
    if (line.empty() || line.starts_with('#') || line.starts_with(';')) continue;
    if (line.starts_with('[')) {
      inside = line.ends_with(']') && trimmed(line.substr(1, line.size() - 2)) == section;
      continue;
    }
    if (!inside || is_blank(raw.front())) continue;  // indented: of a nested section ("s3 =")
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    take(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)), profile);
  }
}

AwsProfile AwsProfile::read(const StoreEnvironment& environment, std::string_view name) {
  const std::string home = environment.get_or("HOME", "/root") + "/.aws/";
  const std::string config = environment.get_or("AWS_CONFIG_FILE", home + "config");
  AwsProfile profile;
  profile.file = environment.get_or("AWS_SHARED_CREDENTIALS_FILE", home + "credentials");
  const std::string in_config = name == "default" ? "default" : "profile " + std::string(name);
  if (const auto text = read_file(config, kFileMaxBytes)) read_aws_section(*text, in_config, profile);
  AwsProfile shared;
  if (const auto text = read_file(profile.file, kFileMaxBytes)) read_aws_section(*text, name, shared);
  if (!shared.keys.id.empty()) profile.keys = shared.keys;
  if (!shared.region.empty()) profile.region = shared.region;
  if (!shared.unsupported.empty()) profile.unsupported = shared.unsupported;
  return profile;
}

}  // namespace hearth::blob
