// One FUSE mount's conversation with the kernel, by libfuse: requests come in, answers go out, in any order and from
// any thread.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/cached_layer.hpp"
#include "mount/fetcher.hpp"
#include "mount/fuse_tree.hpp"
#include "mount/starts.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct fuse_session;

namespace hearth::mount {

/// Where a thread receives requests; used again and again.
class FuseBuffer {
 public:
  FuseBuffer();
  ~FuseBuffer();
  FuseBuffer(const FuseBuffer&) = delete;
  FuseBuffer& operator=(const FuseBuffer&) = delete;

 private:
  friend class FuseSession;
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

struct FuseSessionOptions {
  std::shared_ptr<const CachedLayer> layer;
  uint32_t id_base = 0;
  Fetcher* fetcher = nullptr;  // borrowed; stops before its end
  Starts* starts = nullptr;    // borrowed; told of all reads
  Duration read_deadline = kReadDeadline;
  bool splice = true;  // costs two descriptors for each thread that answers
};

/// Thread-safe. Reads whose pages are here are answered at once, from the packs' files; others when they have come, by
/// the fetcher's threads. What a stopping fetcher leaves unanswered is left to the next imagefs.
class FuseSession : public std::enable_shared_from_this<FuseSession> {
 public:
  /// exhausted: libfuse has no more than about a thousand sessions in one process.
  static Result<std::shared_ptr<FuseSession>> open(UniqueFd device, FuseSessionOptions options);
  ~FuseSession();
  FuseSession(const FuseSession&) = delete;
  FuseSession& operator=(const FuseSession&) = delete;

  /// Answers FUSE_INIT, which the kernel has sent when the file system was made: what it said, to be remembered.
  Result<std::string> greet();
  /// Goes on with a conversation that another process began, who left this: the kernel is asked to send again what that
  /// one did not answer. unavailable when this kernel cannot (before Linux 6.9): then those readers wait for good.
  Result<> resume(std::string_view init);

  /// Makes the kernel forget what it has cached of the content of these files, mapped by processes or not: it asks for
  /// it again. Waits for reads of them that are under way; not for threads that answer those.
  void forget_content(std::span<const uint32_t> inodes) const;

  int device() const;
  const FuseTree& tree() const { return tree_; }

  enum class Served { request, nothing, gone };
  /// Receives one request, if there is one, and begins to answer it. gone: nobody has it mounted any more.
  Served serve(FuseBuffer& buffer);

 private:
  friend struct FuseOperations;
  friend class FuseRead;
  explicit FuseSession(FuseSessionOptions options);

  FuseSessionOptions options_;
  FuseTree tree_;
  ::fuse_session* session_ = nullptr;
  // Set while FUSE_INIT is answered, before any other request.
  bool opens_are_needless_ = false;
  bool opendirs_are_needless_ = false;
};

}  // namespace hearth::mount
