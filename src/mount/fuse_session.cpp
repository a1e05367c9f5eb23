#include "mount/fuse_session.hpp"

#include "base/log.hpp"
#include "mount/fuse_library.hpp"
#include "mount/fuse_mount.hpp"
#include "mount/fuse_operations.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

namespace hearth::mount {

namespace {

constexpr milliseconds kInitTime{5000};  // the kernel has sent it before we look
// linux/fuse.h of Linux 6.9, which older headers lack.
constexpr int kNotifyResend = 7;
constexpr uint64_t kHasResend = uint64_t{1} << 39;
constexpr unsigned kUpperFlags = 32;
constexpr size_t kInitBytesMax = 4096;
constexpr size_t kBufferBytes = size_t{2} * kFuseRequestBytes;  // libfuse wants a request and its header
constexpr size_t kTouchedBytes = size_t{16} << 10;

void log_for_fuse(enum fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> line{};
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  std::string_view text(line.data(), std::min<size_t>(length > 0 ? static_cast<size_t>(length) : 0, line.size() - 1));
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (level <= FUSE_LOG_WARNING) {
    log_warning(text);
  } else {
    log_debug(text);
  }
}

bool can_resend(const std::string& init) {
  fuse_init_in said{};
  if (init.size() < sizeof(fuse_in_header) + offsetof(fuse_init_in, unused)) return false;
  std::memcpy(&said, init.data() + sizeof(fuse_in_header), std::min(sizeof said, init.size() - sizeof(fuse_in_header)));
  const uint64_t flags = said.flags | (uint64_t{said.flags2} << kUpperFlags);
  return (said.flags & FUSE_INIT_EXT) != 0 && (flags & kHasResend) != 0;
}

Result<> ask_to_resend(int device) {
  const fuse_out_header note{.len = sizeof note, .error = kNotifyResend, .unique = 0};
  if (::write(device, &note, sizeof note) == static_cast<ssize_t>(sizeof note)) return {};
  if (errno == ENODEV || errno == ENOENT) return {};  // gone meanwhile: the loop finds out
  return fail_errno("ask the kernel to send again what waits", errno);
}

}  // namespace

struct FuseBuffer::Memory {
  fuse_buf buffer{};
};

/// The kernel insists on room for a write of the largest size. What it does send fits into the first pages, which are
/// made now: if it found no page while we are being killed, it would answer the request itself, with EIO.
FuseBuffer::FuseBuffer() : memory_(std::make_unique<Memory>()) {
  memory_->buffer.mem = std::malloc(kBufferBytes);
  if (memory_->buffer.mem != nullptr) std::memset(memory_->buffer.mem, 0, kTouchedBytes);
}

FuseBuffer::~FuseBuffer() {
  std::free(memory_->buffer.mem);  // or libfuse's own, when there was no memory
}

FuseSession::FuseSession(FuseSessionOptions options)
    : options_(std::move(options)), tree_(options_.layer, options_.id_base) {}

FuseSession::~FuseSession() {
  if (session_ != nullptr) fuse_session_destroy(session_);  // closes the device
}

Result<std::shared_ptr<FuseSession>> FuseSession::open(UniqueFd device, FuseSessionOptions options) {
  static std::once_flag once;
  std::call_once(once, [] { fuse_set_log_func(log_for_fuse); });
  auto session = std::shared_ptr<FuseSession>(new FuseSession(std::move(options)));
  std::string program = "hearth";
  std::string option = "-omax_read=" + std::to_string(kFuseRequestBytes);
  std::array<char*, 3> words{program.data(), option.data(), nullptr};
  fuse_args arguments{.argc = 2, .argv = words.data(), .allocated = 0};
  const auto& table = FuseOperations::table();
  session->session_ = fuse_session_new(&arguments, &table, sizeof table, session.get());
  fuse_opt_free_args(&arguments);
  if (session->session_ == nullptr) {
    return fail(ErrorCode::exhausted, "libfuse makes no more sessions: this imagefs has too many FUSE mounts");
  }
  const std::string path = "/dev/fd/" + std::to_string(device.get());
  if (fuse_session_mount(session->session_, path.c_str()) != 0) {
    return fail(ErrorCode::internal, "libfuse does not take " + path);
  }
  (void)device.release();  // libfuse's now
  return session;
}

void FuseSession::forget_content(std::span<const uint32_t> inodes) const {
  for (const uint32_t inode : inodes) {
    const int error = fuse_lowlevel_notify_inval_inode(session_, FUSE_ROOT_ID + inode, 0, 0);
    if (error == 0 || error == -ENOENT || error == -ENODEV) continue;  // not known to the kernel, or nobody's any more
    log_error("the kernel keeps wrong bytes of a file: restart what uses this layer",
              {{"inode", inode}, {"error", std::strerror(-error)}});
  }
}

int FuseSession::device() const {
  return fuse_session_fd(session_);
}

Result<std::string> FuseSession::greet() {
  pollfd waiting{device(), POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(kInitTime.count())) != 1) {
    return fail(ErrorCode::unavailable, "the kernel does not greet a FUSE mount");
  }
  FuseBuffer buffer;
  fuse_buf& memory = buffer.memory_->buffer;
  const int size = fuse_session_receive_buf(session_, &memory);
  if (size < static_cast<int>(sizeof(fuse_in_header))) return fail_errno("receive FUSE_INIT", size < 0 ? -size : EIO);
  std::string init(static_cast<const char*>(memory.mem), static_cast<size_t>(size));
  fuse_session_process_buf(session_, &memory);
  if (fuse_session_exited(session_) != 0) {
    return fail(ErrorCode::unavailable, "the kernel's FUSE is not one that libfuse speaks to");
  }
  return init;
}

Result<> FuseSession::resume(std::string_view init) {
  fuse_in_header header{};
  if (init.size() < sizeof header + offsetof(fuse_init_in, flags2) || init.size() > kInitBytesMax) {
    return fail(ErrorCode::corrupt, "what an earlier imagefs wrote down about a FUSE mount cannot be read");
  }
  std::memcpy(&header, init.data(), sizeof header);
  if (header.opcode != FUSE_INIT || header.len != init.size()) {
    return fail(ErrorCode::corrupt, "what an earlier imagefs wrote down about a FUSE mount is no FUSE_INIT");
  }
  // Room for what libfuse reads of a newer kernel's request. The answer finds nobody who waits for it (ENOENT).
  std::string request(init);
  request.resize(kInitBytesMax, '\0');
  fuse_buf buffer{};
  buffer.mem = request.data();
  buffer.size = init.size();
  fuse_session_process_buf(session_, &buffer);
  if (fuse_session_exited(session_) != 0) return fail(ErrorCode::internal, "libfuse does not go on with a FUSE mount");
  if (!can_resend(std::string(init))) {
    return fail(ErrorCode::unavailable, "this kernel does not send again what waits (Linux 6.9 or later is needed)");
  }
  return ask_to_resend(device());
}

FuseSession::Served FuseSession::serve(FuseBuffer& buffer) {
  fuse_buf& memory = buffer.memory_->buffer;
  const int size = fuse_session_receive_buf(session_, &memory);
  if (size == 0 || fuse_session_exited(session_) != 0) return Served::gone;
  if (size < 0) return Served::nothing;  // another thread was faster; libfuse has logged what is worse
  fuse_session_process_buf(session_, &memory);
  return Served::request;
}

}  // namespace hearth::mount
