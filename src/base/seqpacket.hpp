// Blocking SEQPACKET Unix sockets that carry messages and descriptors: how holder and imagefs are spoken to.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hearth {

inline constexpr size_t kSeqpacketMessageMax = 128 * 1024;  // below the kernel's default socket buffer
inline constexpr size_t kSeqpacketFdsMax = 64;              // below the kernel's SCM_MAX_FD (253)

struct SeqpacketMessage {
  std::string bytes;
  std::vector<UniqueFd> fds;
};

struct PeerCredentials {
  pid_t pid = -1;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// One connected end. One thread may send while another receives.
class SeqpacketSocket {
 public:
  explicit SeqpacketSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  static Result<SeqpacketSocket> connect(const std::filesystem::path& path);

  /// Descriptors are duplicated by the kernel; the caller keeps its own.
  Result<> send(std::string_view bytes, const std::vector<int>& fds = {});
  /// Next message; error `unavailable` when the peer has closed, `deadline_exceeded` when time ran out.
  Result<SeqpacketMessage> receive(Deadline deadline = {});
  /// The same, without taking memory for each message: for those who receive many.
  Result<> receive_into(SeqpacketMessage& message, Deadline deadline = {});

  Result<PeerCredentials> peer() const;
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Bound and listening socket. Replaces a dead one's path; refuses to replace one that still answers.
class SeqpacketListener {
 public:
  static Result<SeqpacketListener> listen(const std::filesystem::path& path, unsigned mode = 0600);
  Result<SeqpacketSocket> accept();
  int fd() const { return fd_.get(); }

 private:
  explicit SeqpacketListener(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace hearth
