#include "mount/holder_link.hpp"

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hearth::mount {

namespace {

constexpr const char* kGroup = "imagefs/group";
constexpr std::string_view kPackPrefix = "imagefs/pack/";
constexpr std::string_view kMountPrefix = "imagefs/layer/";
constexpr milliseconds kEventTimeout = std::chrono::minutes(10);  // of a reader whom no imagefs answers at all
constexpr milliseconds kReconnectPause{50};
constexpr seconds kRecoverTime{5};     // an event comes at once, or the file carries no mark
constexpr seconds kSupervisorTime{2};  // in which the supervisor gives a new holder its copy of the group
constexpr milliseconds kPollTime{200};

std::string pack_name(const std::string& hex) {
  return std::string(kPackPrefix) + hex;
}
std::string mount_name(const std::string& hex) {
  return std::string(kMountPrefix) + hex;
}

/// Whether reads of the file raise events of the group.
bool is_marked(int group, const std::filesystem::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return false;
  const auto marks = read_file("/proc/self/fdinfo/" + std::to_string(group));
  return marks && marks->contains(fmt::format("fanotify ino:{:x} ", status.st_ino));
}

std::optional<Digest> digest_in(std::string_view name, std::string_view prefix) {
  auto digest = Digest::parse("sha256:" + std::string(name.substr(prefix.size())));
  if (!digest) return std::nullopt;
  return *digest;
}

}  // namespace

uint64_t pack_token(const Digest& pack) {
  uint64_t token = 0;
  std::memcpy(&token, pack.bytes().data(), sizeof token);
  return token;
}

Result<std::unique_ptr<HolderLink>> HolderLink::open(std::filesystem::path socket) {
  auto link = std::unique_ptr<HolderLink>(new HolderLink(std::move(socket)));
  TRY_VOID(link->adopt_group());
  TRY(link->epoch_, HolderEpoch::adopt(link->client_));
  return link;
}

HolderLink::~HolderLink() {
  thread_.request_stop();
}

/// The group of an earlier imagefs, or of the supervisor; else a new one.
Result<> HolderLink::adopt_group() {
  auto kept = client_.get(kGroup);
  if (kept) {
    group_ = std::move(*kept);
    return {};
  }
  if (kept.error().code != ErrorCode::not_found) return Unexpected(kept.error());
  TRY(group_, fanotify::open_group());
  return relay({});
}

Result<> HolderLink::relay(const holder::Child& predecessor) {
  TRY(const uint32_t denied,
      client_.relay(group_.get(), {.name = kGroup, .predecessor = predecessor, .timeout = kEventTimeout}));
  if (denied > 0) log_warning("reads that a dead holder had not answered begin again", {{"reads", denied}});
  return {};
}

Result<Inheritance> HolderLink::inherit() {
  Inheritance inheritance;
  const auto take = [this](std::string_view prefix, auto& list) -> Result<> {
    TRY(const auto names, client_.list(prefix));
    for (const std::string& name : names) {
      const auto digest = digest_in(name, prefix);
      auto fd = client_.get(name);
      if (digest && fd) list.emplace_back(*digest, std::move(*fd));
    }
    return {};
  };
  TRY_VOID(take(kPackPrefix, inheritance.packs));
  TRY_VOID(take(kMountPrefix, inheritance.mounts));
  return inheritance;
}

std::vector<std::pair<Digest, UniqueFd>> HolderLink::recover(const std::vector<LedgerPack>& orphans) {
  std::vector<std::pair<Digest, UniqueFd>> recovered;
  std::map<uint64_t, Digest> waiting;  // by token
  for (const LedgerPack& orphan : orphans) {
    if (waiting.contains(pack_token(orphan.digest)) || !is_marked(group_.get(), orphan.data)) continue;
    auto probe = probe_orphan(orphan);
    if (!probe) {
      log_error("a pack in use cannot be watched", {{"pack", orphan.digest.hex()}, {"error", probe.error().message}});
      continue;
    }
    waiting.emplace(pack_token(orphan.digest), orphan.digest);
  }
  auto stream = holder::EventStream::open(socket_);
  const auto until = Deadline::after(mono_now(), kRecoverTime);
  while (stream && !waiting.empty()) {
    auto events = stream->next(until);
    if (!events) break;
    for (const holder::Event& event : *events) {
      const auto orphan = waiting.find(event.token);
      if (orphan == waiting.end() || event.sequence == 0) continue;
      auto file = client_.event_fd(event.sequence);
      if (!file) continue;
      recovered.emplace_back(orphan->second, std::move(*file));
      waiting.erase(orphan);
    }
  }
  for (const auto& [token, digest] : waiting) log_warning("a pack in use is not had back", {{"pack", digest.hex()}});
  return recovered;
}

/// Reads a byte of the file by a descriptor of our own, in a thread that waits until that is answered.
Result<> HolderLink::probe_orphan(const LedgerPack& orphan) {
  auto file = std::make_shared<UniqueFd>();
  TRY(*file, open_file(orphan.data, O_RDWR));
  // Nothing is said to be present: every read of it is to be told.
  const UniqueFd nothing(::memfd_create("hearth-nothing-present", MFD_CLOEXEC));
  const uint64_t pages = orphan.plain_size / image::kPageBytes;
  if (!nothing || ::ftruncate(nothing.get(), static_cast<off_t>(pages / 8 + sizeof(uint64_t))) != 0) {
    return fail_errno("make a file in memory", errno);
  }
  TRY_VOID(client_.track({.name = pack_name(orphan.digest.hex()),
                          .token = pack_token(orphan.digest),
                          .data_fd = file->get(),
                          .presence_fd = nothing.get(),
                          .header_bytes = 0,
                          .page_bytes = image::kPageBytes}));
  probes_.emplace_back([file] {
    char byte = 0;
    (void)!::pread(file->get(), &byte, 1, 0);
  });
  return {};
}

void HolderLink::start(OnEvent on_event) {
  on_event_ = std::move(on_event);
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Result<> HolderLink::track(const PackFile& pack, holder::Observe observe) {
  return client_.track({.name = pack_name(pack.digest().hex()),
                        .token = pack_token(pack.digest()),
                        .data_fd = pack.data_fd(),
                        .presence_fd = pack.present_fd(),
                        .header_bytes = kPresentHeaderBytes,
                        .page_bytes = image::kPageBytes,
                        .observe = observe});
}

Result<> HolderLink::keep_pack(const std::shared_ptr<PackFile>& pack, holder::Observe observe) {
  {
    const std::lock_guard lock(mutex_);
    packs_[pack->digest().hex()] = {pack, observe};
  }
  return track(*pack, observe);
}

void HolderLink::drop_pack(const Digest& pack) {
  {
    const std::lock_guard lock(mutex_);
    packs_.erase(pack.hex());
  }
  (void)client_.drop(pack_name(pack.hex()));
}

Result<> HolderLink::keep_mount(const Digest& layer, int mount) {
  UniqueFd copy(::fcntl(mount, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("duplicate a mount", errno);
  {
    const std::lock_guard lock(mutex_);
    mounts_[layer.hex()] = std::move(copy);
  }
  return client_.put(mount_name(layer.hex()), mount);
}

void HolderLink::drop_mount(const Digest& layer) {
  {
    const std::lock_guard lock(mutex_);
    mounts_.erase(layer.hex());
  }
  (void)client_.drop(mount_name(layer.hex()));
}

std::map<std::string, uint64_t> HolderLink::counts() {
  auto counted = client_.counts();
  return counted ? std::move(*counted) : std::map<std::string, uint64_t>{};
}

void HolderLink::answer(uint64_t sequence, uint32_t errno_value) {
  std::shared_ptr<holder::EventStream> stream;
  {
    const std::lock_guard lock(mutex_);
    stream = stream_;
  }
  // Lost with its holder: the sweep of the next one makes the reader ask again.
  if (!stream) return;
  const std::array answers{holder::EventAnswer{.sequence = sequence, .error = errno_value}};
  if (auto sent = stream->answer(answers); !sent) log_debug("an answer was lost", {{"error", sent.error().message}});
}

void HolderLink::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (auto followed = follow(stop); !followed) {
      log_warning("the holder is gone; waiting for the next", {{"error", followed.error().message}});
    }
    {
      const std::lock_guard lock(mutex_);
      stream_.reset();
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

/// Gives a new holder what the old one had. The supervisor is given a moment to be first with the group.
Result<> HolderLink::hand_over_again() {
  const auto began = mono_now();
  auto known = client_.get(kGroup);
  while (!known && known.error().code == ErrorCode::not_found && mono_now() - began < kSupervisorTime) {
    std::this_thread::sleep_for(kReconnectPause);
    known = client_.get(kGroup);
  }
  if (!known) {
    if (known.error().code != ErrorCode::not_found) return Unexpected(known.error());
    TRY_VOID(relay(holder_));
  }
  const std::lock_guard lock(mutex_);
  TRY_VOID(epoch_.keep(client_));
  for (const auto& [hex, kept] : packs_) TRY_VOID(track(*kept.pack, kept.observe));
  for (const auto& [hex, mount] : mounts_) TRY_VOID(client_.put(mount_name(hex), mount.get()));
  return {};
}

/// Passes events on until the holder is gone or we stop.
Result<> HolderLink::follow(const std::stop_token& stop) {
  TRY(auto opened, holder::EventStream::open(socket_));
  auto stream = std::make_shared<holder::EventStream>(std::move(opened));
  TRY(const auto process, client_.process());
  {
    const std::lock_guard lock(mutex_);
    stream_ = stream;
    holder_ = process;
  }
  while (!stop.stop_requested()) {
    auto events = stream->next(Deadline::after(mono_now(), kPollTime));
    if (!events && events.error().code == ErrorCode::deadline_exceeded) continue;
    if (!events) return Unexpected(events.error());
    for (const auto& event : *events) on_event_(event);
  }
  return {};
}

}  // namespace hearth::mount
