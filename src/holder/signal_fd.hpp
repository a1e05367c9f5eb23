// The signals the holder's loop waits for, as a descriptor.
#pragma once

#include "base/unique_fd.hpp"

#include <sys/signalfd.h>

#include <csignal>

namespace hearth::holder {

enum class Serving { yes, no };

/// Blocks SIGCHLD, SIGTERM and SIGINT; restores the mask when destroyed.
class SignalFd {
 public:
  SignalFd() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&wanted, signal);
    ::sigprocmask(SIG_BLOCK, &wanted, &before_);
    fd_ = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~SignalFd() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  int fd() const { return fd_.get(); }
  /// Takes what is pending; `no` when told to stop. Deaths are found by reaping, since signals of one kind merge.
  Serving take() {
    Serving serving = Serving::yes;
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) serving = Serving::no;
    }
    return serving;
  }

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace hearth::holder
