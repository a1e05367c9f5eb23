#include "mount/fuse_loop.hpp"

#include "base/log.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

namespace hearth::mount {

namespace {

constexpr uint64_t kStopId = 0;
constexpr unsigned kThreadsMin = 2;
constexpr unsigned kThreadsMax = 8;
/// Requests of one session that a thread answers before it looks at the others.
constexpr int kInARow = 16;

}  // namespace

Result<std::unique_ptr<FuseLoop>> FuseLoop::start(OnGone on_gone) {
  auto loop = std::unique_ptr<FuseLoop>(new FuseLoop);
  loop->on_gone_ = std::move(on_gone);
  loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  loop->stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!loop->epoll_ || !loop->stop_) return fail_errno("make an event loop", errno);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStopId}};
  if (::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->stop_.get(), &event) != 0) {
    return fail_errno("make an event loop", errno);
  }
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), kThreadsMin, kThreadsMax);
  for (unsigned i = 0; i < count; ++i) loop->threads_.emplace_back([raw = loop.get()] { raw->run(); });
  return loop;
}

FuseLoop::~FuseLoop() {
  stop();
}

void FuseLoop::stop() {
  if (stop_) ::eventfd_write(stop_.get(), 1);
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

Result<> FuseLoop::add(const std::shared_ptr<FuseSession>& session) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = next_id_++;
  sessions_.emplace(id, session);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, session->device(), &event) == 0) return {};
  const int error = errno;
  sessions_.erase(id);
  return fail_errno("watch a FUSE mount", error);
}

void FuseLoop::run() {
  FuseBuffer buffer;
  for (;;) {
    epoll_event event{};
    const int ready = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (ready < 0 && errno != EINTR) return log_error("the FUSE mounts are not served any more");
    if (ready <= 0) continue;
    if (event.data.u64 == kStopId) return;  // left readable, so that every thread sees it
    serve(event.data.u64, buffer);
  }
}

void FuseLoop::serve(uint64_t id, FuseBuffer& buffer) {
  std::shared_ptr<FuseSession> session;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    session = found->second;
  }
  auto served = FuseSession::Served::request;
  for (int i = 0; i < kInARow && served == FuseSession::Served::request; ++i) served = session->serve(buffer);
  if (served != FuseSession::Served::gone) return;
  {
    const std::lock_guard lock(mutex_);
    if (sessions_.erase(id) == 0) return;  // another thread has seen it, too
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, session->device(), nullptr);
  on_gone_(*session);
}

}  // namespace hearth::mount
