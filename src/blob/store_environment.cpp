#include "blob/store_environment.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>

namespace hearth::blob {

namespace {

constexpr std::array<std::string_view, 4> kPrefixes = {"AWS_", "GOOGLE_", "GCE_METADATA_", "STORAGE_EMULATOR_"};
constexpr std::array<const char*, 4> kSecrets = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                                 "AWS_CONTAINER_AUTHORIZATION_TOKEN"};
constexpr std::string_view kHome = "HOME";  // ~/.aws/credentials

using Values = std::map<std::string, std::string, std::less<>>;

/// Empty until keep_store_secrets() was called; not changed after that.
std::optional<Values>& kept() {
  static std::optional<Values> values;
  return values;
}

Values read_environment() {
  Values values;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    if (name == kHome || is_store_variable(name)) values.emplace(name, text.substr(equals + 1));
  }
  return values;
}

}  // namespace

bool is_store_variable(std::string_view name) {
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

StoreEnvironment StoreEnvironment::of_process() {
  return StoreEnvironment(kept() ? *kept() : read_environment());
}

std::optional<std::string> StoreEnvironment::get(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

std::string StoreEnvironment::get_or(std::string_view name, std::string_view otherwise) const {
  return get(name).value_or(std::string(otherwise));
}

void keep_store_secrets() {
  kept() = read_environment();
  for (const char* name : kSecrets) ::unsetenv(name);
}

}  // namespace hearth::blob
