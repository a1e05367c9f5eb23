// For tests only: a real redis-server of our own on a Unix socket, which may be killed and started again.
#pragma once

#include "base/process.hpp"

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::redis {

class TestRedisServer {
 public:
  TestRedisServer() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hearth-redis-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~TestRedisServer() {
    kill();
    std::filesystem::remove_all(directory_);
  }
  TestRedisServer(const TestRedisServer&) = delete;
  TestRedisServer& operator=(const TestRedisServer&) = delete;

  std::string socket() const { return (directory_ / "redis.sock").string(); }

  /// Starts with no data. It serves a moment later: clients of Redis have to try until it does.
  void start(const std::vector<std::string>& more_arguments = {}) {
    auto program = find_program("redis-server");
    ASSERT_TRUE(program) << "redis-server is not installed (./dev setup)";
    std::vector<std::string> arguments = {*program, "--port", "0",        "--unixsocket",           socket(), "--save",
                                          "",       "--dir",  directory_, "--enable-debug-command", "yes"};
    arguments.insert(arguments.end(), more_arguments.begin(), more_arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ != 0) return;
    if (::freopen("/dev/null", "w", stdout) == nullptr) ::_exit(126);
    ::execv(program->c_str(), argv.data());
    ::_exit(127);
  }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  std::filesystem::path directory_;
  pid_t pid_ = -1;
};

}  // namespace hearth::redis
