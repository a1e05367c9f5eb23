#include "supervisor/invoking_user.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

namespace hearth::supervisor {

namespace {

/// The user behind sudo, if there is one.
const passwd* sudo_user() {
  const char* text = std::getenv("SUDO_UID");
  uid_t uid = 0;
  if (text == nullptr || std::from_chars(text, text + std::strlen(text), uid).ec != std::errc()) return nullptr;
  return uid == 0 ? nullptr : ::getpwuid(uid);
}

/// In a process of its own, which then is that user.
bool write_as(const passwd& user, const client::Context& context) {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(user.pw_gid, user.pw_gid, user.pw_gid) != 0 ||
      ::setresuid(user.pw_uid, user.pw_uid, user.pw_uid) != 0) {
    return false;
  }
  const std::filesystem::path path = std::filesystem::path(user.pw_dir) / ".config/hearth/context.json";
  return client::write_context(path, context).has_value();
}

}  // namespace

Result<> write_context_for_invoking_user(const client::Context& context) {
  auto own = client::write_context(client::user_context_path(), context);
  const passwd* user = sudo_user();
  if (user == nullptr) return own;
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("write the context of " + std::string(user->pw_name), errno);
  if (child == 0) ::_exit(write_as(*user, context) ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return fail(ErrorCode::denied, "cannot write the context file of " + std::string(user->pw_name));
  return own;
}

}  // namespace hearth::supervisor
