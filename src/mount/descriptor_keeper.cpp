#include "mount/descriptor_keeper.hpp"

#include "base/clock.hpp"
#include "base/log.hpp"

namespace hearth::mount {

namespace {
constexpr milliseconds kReconnectPause{50};
constexpr milliseconds kPollTime{200};
}  // namespace

Result<std::unique_ptr<DescriptorKeeper>> DescriptorKeeper::open(std::filesystem::path socket) {
  auto keeper = std::unique_ptr<DescriptorKeeper>(new DescriptorKeeper(std::move(socket)));
  TRY(keeper->epoch_, HolderEpoch::adopt(keeper->client_));
  DescriptorKeeper* const raw = keeper.get();
  keeper->thread_ = std::jthread([raw](const std::stop_token& stop) { raw->run(stop); });
  return keeper;
}

DescriptorKeeper::~DescriptorKeeper() {
  thread_.request_stop();
}

Result<std::vector<std::pair<std::string, UniqueFd>>> DescriptorKeeper::inherit(std::string_view prefix) {
  std::vector<std::pair<std::string, UniqueFd>> found;
  TRY(const auto names, client_.list(prefix));
  for (const std::string& name : names) {
    if (auto fd = client_.get(name)) found.emplace_back(name, std::move(*fd));
  }
  return found;
}

Result<> DescriptorKeeper::keep(const std::string& name, int fd) {
  const std::lock_guard lock(mutex_);
  kept_[name] = fd;
  return client_.put(name, fd);
}

void DescriptorKeeper::drop(const std::string& name) {
  const std::lock_guard lock(mutex_);
  kept_.erase(name);
  (void)client_.drop(name);
}

void DescriptorKeeper::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (auto watched = watch(stop); !watched) {
      log_warning("the holder is gone; waiting for the next", {{"error", watched.error().message}});
    }
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(kReconnectPause);
      auto again = hand_over_again();
      if (again) break;
      if (again.error().code != ErrorCode::unavailable) {
        log_error("the new holder does not take over", {{"error", again.error().message}});
      }
    }
  }
}

/// Until the holder is gone (a connection that only ends with it) or we stop.
Result<> DescriptorKeeper::watch(const std::stop_token& stop) {
  TRY(auto stream, holder::ExitStream::open(socket_));
  while (!stop.stop_requested()) {
    auto exit = stream.next(Deadline::after(mono_now(), kPollTime));
    if (!exit && exit.error().code != ErrorCode::deadline_exceeded) return Unexpected(exit.error());
  }
  return {};
}

Result<> DescriptorKeeper::hand_over_again() {
  const std::lock_guard lock(mutex_);
  TRY_VOID(epoch_.keep(client_));
  for (const auto& [name, fd] : kept_) TRY_VOID(client_.put(name, fd));
  return {};
}

}  // namespace hearth::mount
