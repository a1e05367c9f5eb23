// A holder in a process of its own, as in production: it reaps whatever is below it, and can be killed.
#pragma once

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "base/seqpacket.hpp"
#include "holder/server.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <string_view>
#include <thread>
#include <utility>

namespace hearth::holder {

inline Deadline soon() {
  return Deadline::after(mono_now(), seconds(20));
}

/// Runs `body` in a forked process; its value is the exit status.
inline pid_t in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

inline int exit_status(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class HolderProcess : public testing::Test {
 protected:
  void SetUp() override {
    // Not /tmp: that may be a file system without pre-content events.
    folder_ = std::filesystem::path("/var/tmp") / ("holder-test-" + random_id(8));
    std::filesystem::create_directory(folder_);
    start();
  }
  void TearDown() override {
    kill_holder(SIGTERM);
    std::filesystem::remove_all(folder_);
  }

  void start() { start({.socket = socket(), .descriptors_max = descriptors_max_}); }
  void start(const Config& config) {
    pid_ = in_child([&config] { return serve(config) ? 0 : 1; });
    while (!SeqpacketSocket::connect(socket())) std::this_thread::sleep_for(milliseconds(1));
  }
  int kill_holder(int signal) {
    if (pid_ <= 0) return 0;
    ::kill(pid_, signal);
    return exit_status(std::exchange(pid_, -1));
  }

  std::filesystem::path socket() const { return folder_ / "holder.sock"; }
  std::filesystem::path path(std::string_view name) const { return folder_ / name; }

  std::filesystem::path folder_;
  uint64_t descriptors_max_ = Config{}.descriptors_max;
  pid_t pid_ = -1;
};

}  // namespace hearth::holder
