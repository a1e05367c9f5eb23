#include "mount/fuse_read.hpp"

#include "base/log.hpp"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

namespace hearth::mount {

namespace {

/// Pages that were brought can be found wrong and dropped before they are read: then they are brought again.
constexpr int kRoundsMax = 4;
/// libfuse copies less than this anyway.
constexpr uint64_t kSpliceBytesMin = uint64_t{2} * image::kPageBytes;

int errno_of(const Error& error) {
  return error.code == ErrorCode::exhausted ? ENOSPC : EIO;
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

void FuseRead::begin() {
  const auto lacking = missing();
  asked_ = mono_now();
  if (!lacking.empty()) {
    tell_of_questions();
    return fill(lacking);
  }
  tell_of_hits();
  answer(Where::session_thread);
}

void FuseRead::tell_of_hits() const {
  for (const FilePiece& piece : pieces_) {
    if (piece.pack != nullptr) {
      session_->options_.starts->hit(piece.pack->digest(), pages_of(piece.offset, piece.length));
    }
  }
}

void FuseRead::tell_of_questions() const {
  for (const FilePiece& piece : pieces_) {
    if (piece.pack != nullptr) {
      session_->options_.starts->asked(piece.pack->digest(), pages_of(piece.offset, piece.length));
    }
  }
}

void FuseRead::tell_of_waits() const {
  const auto answered = mono_now();
  for (const FilePiece& piece : pieces_) {
    if (piece.pack != nullptr) {
      session_->options_.starts->waited(piece.pack->digest(), pages_of(piece.offset, piece.length), asked_, answered);
    }
  }
}

std::vector<FilePiece> FuseRead::missing() const {
  std::vector<FilePiece> found;
  for (const FilePiece& piece : pieces_) {
    if (piece.pack != nullptr && !piece.pack->present(piece.offset, piece.length)) found.push_back(piece);
  }
  return found;
}

void FuseRead::fill(const std::vector<FilePiece>& missing) {
  ++rounds_;
  waiting_ = missing.size();
  const auto deadline = Deadline::after(mono_now(), session_->options_.read_deadline);
  for (const FilePiece& piece : missing) {
    session_->options_.fetcher->fill({.pack = session_->tree_.layer().pack(piece.number),
                                      .offset = piece.offset,
                                      .length = piece.length,
                                      .deadline = deadline},
                                     [self = shared_from_this()](const Result<>& result) { self->filled(result); });
  }
}

void FuseRead::filled(const Result<>& result) {
  if (!result) {
    const std::lock_guard lock(mutex_);
    // One cancelled part cancels all: its reader is left to the next imagefs.
    if (result_ || result.error().code == ErrorCode::cancelled) result_ = result;
  }
  if (waiting_.fetch_sub(1) == 1) finish();
}

void FuseRead::finish() {
  if (result_) {
    const auto lacking = missing();
    if (lacking.empty()) {
      answer(Where::fetcher_thread);
      return tell_of_waits();
    }
    if (rounds_ < kRoundsMax) return fill(lacking);
    result_ = fail(ErrorCode::corrupt, "what was brought is lost again and again");
  }
  if (result_.error().code == ErrorCode::cancelled) return fuse_reply_none(request_);
  log_warning("a read fails",
              {{"layer", session_->tree_.index().digest().hex().substr(0, 12)}, {"error", result_.error().message}});
  fuse_reply_err(request_, errno_of(result_.error()));
}

/// Pages go from the pack's page cache to the reader by splice(2) where possible. The fetcher's threads copy: there are
/// many of them, and each would keep a pipe for each session.
void FuseRead::answer(Where where) {
  uint64_t bytes = 0;
  bool holes = false;
  for (const FilePiece& piece : pieces_) {
    bytes += piece.length;
    holes = holes || piece.pack == nullptr;
  }
  const bool spliced =
      where == Where::session_thread && session_->options_.splice && !holes && bytes >= kSpliceBytesMin;
  if (spliced) {
    splice();
  } else {
    copy();
  }
}

void FuseRead::splice() {
  const size_t bytes = sizeof(fuse_bufvec) + pieces_.size() * sizeof(fuse_buf);
  const std::unique_ptr<fuse_bufvec, Free> vector(static_cast<fuse_bufvec*>(std::calloc(1, bytes)));
  if (!vector) {
    fuse_reply_err(request_, ENOMEM);
    return;
  }
  vector->count = pieces_.size();
  fuse_buf* buffer = &vector->buf[0];
  for (const FilePiece& piece : pieces_) {
    buffer->size = piece.length;
    buffer->flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY);
    buffer->fd = piece.pack->data_fd();
    buffer->pos = static_cast<off_t>(piece.offset);
    ++buffer;
  }
  fuse_reply_data(request_, vector.get(), static_cast<fuse_buf_copy_flags>(0));
}

void FuseRead::copy() {
  uint64_t size = 0;
  for (const FilePiece& piece : pieces_) size += piece.length;
  std::string bytes(size, '\0');
  uint64_t at = 0;
  for (const FilePiece& piece : pieces_) {
    if (piece.pack != nullptr) {
      if (auto read = piece.pack->read(piece.offset, bytes.data() + at, piece.length); !read) {
        log_error("a pack's file cannot be read", {{"error", read.error().message}});
        fuse_reply_err(request_, EIO);
        return;
      }
    }
    at += piece.length;
  }
  fuse_reply_buf(request_, bytes.data(), bytes.size());
}

}  // namespace hearth::mount
