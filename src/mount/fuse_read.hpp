// One read of a file in a FUSE mount: what is missing is asked for, then the reader is answered.
#pragma once

#include "mount/fuse_library.hpp"
#include "mount/fuse_session.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace hearth::mount {

class FuseRead : public std::enable_shared_from_this<FuseRead> {
 public:
  FuseRead(std::shared_ptr<FuseSession> session, fuse_req_t request, std::vector<FilePiece> pieces)
      : session_(std::move(session)), request_(request), pieces_(std::move(pieces)) {}

  /// Answers the request, now or later.
  void begin();

 private:
  enum class Where { session_thread, fetcher_thread };
  std::vector<FilePiece> missing() const;
  void fill(const std::vector<FilePiece>& missing);
  void filled(const Result<>& result);
  void finish();
  void tell_of_hits() const;
  void tell_of_questions() const;
  void tell_of_waits() const;
  void answer(Where where);
  void splice();
  void copy();

  std::shared_ptr<FuseSession> session_;
  fuse_req_t request_;
  std::vector<FilePiece> pieces_;
  std::atomic<size_t> waiting_{0};
  int rounds_ = 0;  // of filling
  MonoTime asked_{};
  std::mutex mutex_;
  Result<> result_;
};

}  // namespace hearth::mount
