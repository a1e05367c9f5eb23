#include "build/python_finder.hpp"

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace hearth::build {
namespace {

constexpr std::string_view kUsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

bool is_program(int root_fd, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how)));
  struct stat info{};
  return fd && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0;
}

}  // namespace

std::string find_python(int root_fd, const std::map<std::string, std::string>& env) {
  const auto set = env.find("PATH");
  for (std::string_view name : {"python3", "python"}) {
    std::string_view rest = set == env.end() || set->second.empty() ? kUsualPath : std::string_view(set->second);
    while (!rest.empty()) {
      const std::string_view folder = rest.substr(0, rest.find(':'));
      rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
      if (!folder.starts_with('/')) continue;
      const std::string path = std::string(folder) + (folder.ends_with('/') ? "" : "/") + std::string(name);
      if (is_program(root_fd, path)) return path;
    }
  }
  return "";
}

}  // namespace hearth::build
