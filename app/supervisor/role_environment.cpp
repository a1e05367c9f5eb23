#include "supervisor/role_environment.hpp"

#include "base/file.hpp"
#include "blob/store_environment.hpp"
#include "supervisor/layout.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

namespace hearth::supervisor {

namespace {

constexpr uint64_t kFileMaxBytes = 1024 * 1024;

struct FileVariable {
  const char* name;
  const char* below_home;  // where the file is when the variable is not set; null: nowhere
};
constexpr std::array<FileVariable, 6> kFileVariables = {{
    {"AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"},
    {"AWS_CONFIG_FILE", ".aws/config"},
    {"AWS_WEB_IDENTITY_TOKEN_FILE", nullptr},
    {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", nullptr},
    {"AWS_CA_BUNDLE", nullptr},
    {"GOOGLE_APPLICATION_CREDENTIALS", ".config/gcloud/application_default_credentials.json"},
}};

std::string_view name_of(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

std::string file_of(const FileVariable& variable) {
  const char* value = std::getenv(variable.name);
  if (value != nullptr && *value != '\0') return value;
  const char* home = std::getenv("HOME");
  if (variable.below_home == nullptr || home == nullptr) return "";
  return std::string(home) + "/" + variable.below_home;
}

bool can_read(const std::filesystem::path& path, const Unprivileged& user) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return false;
  const mode_t needed = info.st_uid == user.uid ? S_IRUSR : info.st_gid == user.gid ? S_IRGRP : S_IROTH;
  return (info.st_mode & needed) != 0 && can_traverse(path, user.uid, user.gid);
}

/// Nothing on disk, readable by that user alone.
Result<UniqueFd> copy_in_memory(const std::string& path, const Unprivileged& user) {
  TRY(const std::string text, read_file(path, kFileMaxBytes));
  UniqueFd copy(::memfd_create("hearth-credentials", MFD_CLOEXEC));
  if (!copy) return fail_errno("copy " + path + " into memory", errno);
  TRY_VOID(write_all(copy.get(), text, "a copy of " + path));
  if (::fchmod(copy.get(), 0400) != 0 || ::fchown(copy.get(), user.uid, user.gid) != 0) {
    return fail_errno("give a copy of " + path + " to its user", errno);
  }
  return copy;
}

}  // namespace

std::vector<std::string> own_environment() {
  std::vector<std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) variables.emplace_back(*entry);
  return variables;
}

std::vector<std::string> environment_without_store() {
  std::vector<std::string> variables = own_environment();
  std::erase_if(variables, [](const std::string& variable) { return blob::is_store_variable(name_of(variable)); });
  return variables;
}

Result<RoleEnvironment> environment_for(const Unprivileged& user, int first_fd) {
  RoleEnvironment environment{.variables = own_environment(), .fds = {}};
  for (const FileVariable& variable : kFileVariables) {
    const std::string path = file_of(variable);
    if (path.empty() || ::access(path.c_str(), R_OK) != 0 || can_read(path, user)) continue;
    TRY(UniqueFd copy, copy_in_memory(path, user));
    const int number = first_fd + static_cast<int>(environment.fds.size());
    environment.fds.emplace_back(std::move(copy), number);
    std::erase_if(environment.variables, [&variable](const std::string& one) { return name_of(one) == variable.name; });
    environment.variables.push_back(std::string(variable.name) + "=/proc/self/fd/" + std::to_string(number));
  }
  return environment;
}

}  // namespace hearth::supervisor
