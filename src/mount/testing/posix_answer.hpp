// How the answers to posix_rows are had and written down.
#pragma once

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

namespace hearth::mount::testing {

/// Of a system call that has just returned.
inline std::string said(long result) {
  return result >= 0 ? "ok" : ::strerrorname_np(errno);
}

/// Or the number that it returned.
inline std::string number(long result) {
  return result >= 0 ? std::to_string(result) : ::strerrorname_np(errno);
}

inline std::string opening(const std::filesystem::path& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  return said(file.get());
}

inline UniqueFd reader(const std::filesystem::path& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

/// In a thread that is user and group 1000 and has no privileges: the system calls themselves change one thread only.
inline std::string as_somebody(const std::function<std::string()>& ask) {
  constexpr int kSomebody = 1000;
  std::string answer;
  std::thread([&answer, &ask] {
    ::syscall(SYS_setgroups, 0, nullptr);
    ::syscall(SYS_setresgid, kSomebody, kSomebody, kSomebody);
    const long set = ::syscall(SYS_setresuid, kSomebody, kSomebody, kSomebody);
    answer = set == 0 ? ask() : "cannot be somebody else";
  }).join();
  return answer;
}

}  // namespace hearth::mount::testing
