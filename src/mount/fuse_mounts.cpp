#include "mount/fuse_mounts.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "mount/fuse_mount.hpp"
#include "mount/mounted_pages.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

namespace hearth::mount {

namespace {

constexpr std::string_view kPrefix = "imagefs/fuse/";
constexpr std::string_view kDevice = "dev";
constexpr std::string_view kInit = "init";
constexpr std::string_view kMount = "mount";
constexpr std::string_view kIndexFile = "index";
constexpr size_t kHexLength = 64;
constexpr size_t kNameIdLength = 8;
constexpr Duration kKeepFor = std::chrono::minutes(5);  // a layer that was just asked for is about to be used
constexpr size_t kSplicingMax = 256;                    // mounts; each costs two descriptors a thread

/// As the EROFS back end has it: every page of a window must come before the reader goes on; once all is here, or for
/// few large files, a large window saves calls (docs/benchmarks-lazy.md).
constexpr uint32_t kScatteredReadAheadKib = 32;
constexpr uint32_t kStreamingReadAheadKib = kFuseRequestBytes / 1024;
constexpr uint64_t kLargeFileBytes = uint64_t{4} << 20;

struct MountKey {
  Digest layer;
  uint32_t id_base = 0;
};

/// "<hex>-<id_base>-<random>"
std::optional<MountKey> parse_name(std::string_view name) {
  name.remove_prefix(std::min(kPrefix.size(), name.size()));
  if (name.size() <= kHexLength + 1 || name[kHexLength] != '-') return std::nullopt;
  auto digest = Digest::parse("sha256:" + std::string(name.substr(0, kHexLength)));
  uint32_t id_base = 0;
  const char* const end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kHexLength + 1, end, id_base);
  if (!digest || parsed.ec != std::errc{} || parsed.ptr == end || *parsed.ptr != '-') return std::nullopt;
  return MountKey{*digest, id_base};
}

Result<UniqueFd> file_in_memory(std::string_view bytes) {
  UniqueFd file(::memfd_create("hearth-fuse-init", MFD_CLOEXEC));
  if (!file) return fail_errno("make a file in memory", errno);
  TRY_VOID(write_all(file.get(), bytes, "what the kernel said"));
  return file;
}

Result<std::string> bytes_of(int file) {
  std::string bytes(image::kPageBytes, '\0');
  const ssize_t size = ::pread(file, bytes.data(), bytes.size(), 0);
  if (size < 0) return fail_errno("read a file in memory", errno);
  bytes.resize(static_cast<size_t>(size));
  return bytes;
}

bool is_tight(const CachedLayer& layer) {
  for (uint32_t number = 0; number < layer.index().pack_count(); ++number) {
    if (layer.pack(number) && !layer.pack(number)->room_for_prefetch()) return true;
  }
  return false;
}

}  // namespace

FuseMounts::~FuseMounts() {
  stop();
}

void FuseMounts::stop() {
  if (loop_) loop_->stop();
}

FuseSessionOptions FuseMounts::session_options(const std::shared_ptr<CachedLayer>& layer, uint32_t id_base) {
  const std::lock_guard lock(mutex_);
  return {.layer = layer,
          .id_base = id_base,
          .fetcher = &core_.fetcher(),
          .starts = &core_.starts(),
          .read_deadline = core_.options().read_deadline,
          .splice = mounts_.size() < kSplicingMax};
}

Result<> FuseMounts::start() {
  TRY(loop_, FuseLoop::start([this](const FuseSession& session) { forget(session); }));
  TRY(auto kept, keeper_.inherit(kPrefix));
  std::map<std::string, Parts> groups;
  for (auto& [name, fd] : kept) {
    const size_t slash = name.rfind('/');
    groups[name.substr(0, slash)].emplace(name.substr(slash + 1), std::move(fd));
  }
  size_t adopted = 0;
  for (auto& [name, parts] : groups) {
    auto result = adopt(name, std::move(parts));
    if (result) {
      ++adopted;
      continue;
    }
    log_error("a FUSE mount is not taken over: it ends", {{"mount", name}, {"error", result.error().message}});
    for (const auto part : {kDevice, kInit, kMount}) keeper_.drop(fmt::format("{}/{}", name, part));
  }
  if (adopted > 0) log_info("mounted layers taken over", {{"layers", adopted}});
  return {};
}

/// Without a mount among the parts, an earlier imagefs had given it up, or died before anybody had it.
Result<> FuseMounts::adopt(const std::string& name, Parts parts) {
  const auto key = parse_name(name);
  UniqueFd device = std::move(parts[std::string(kDevice)]);
  Mount mount{.name = name};
  mount.init = std::move(parts[std::string(kInit)]);
  mount.mount = std::move(parts[std::string(kMount)]);
  if (!key || !device || !mount.init) return fail(ErrorCode::corrupt, "only a part of it was kept");
  TRY(const auto init, bytes_of(mount.init.get()));
  TRY(mount.layer, core_.layers().reopen(key->layer));
  TRY(mount.session, FuseSession::open(std::move(device), session_options(mount.layer, key->id_base)));
  if (auto resumed = mount.session->resume(init); !resumed) {
    if (resumed.error().code != ErrorCode::unavailable) return resumed;
    log_warning("reads that wait may wait for good", {{"mount", name}, {"error", resumed.error().message}});
  }
  return serve(std::move(mount));
}

Result<> FuseMounts::make(const std::shared_ptr<CachedLayer>& layer, uint32_t id_base) {
  Mount mount{.layer = layer};
  mount.name = fmt::format("{}{}-{}-{}", kPrefix, layer->index().digest().hex(), id_base, random_id(kNameIdLength));
  TRY(auto device, open_fuse_device());
  TRY(mount.session, FuseSession::open(std::move(device), session_options(layer, id_base)));
  TRY(const auto context, begin_fuse_mount(mount.session->device()));
  TRY(const auto init, mount.session->greet());
  TRY(mount.init, file_in_memory(init));
  TRY(mount.mount, finish_fuse_mount(context.get()));
  return serve(std::move(mount));
}

/// From here on the next imagefs can go on with it.
Result<> FuseMounts::serve(Mount mount) {
  TRY(const auto index_path, core_.cache().layer_path(mount.layer->index().digest(), kIndexFile));
  TRY(mount.index, open_file(index_path, O_RDONLY));
  const auto session = mount.session;
  auto kept = [this, &mount]() -> Result<> {
    TRY_VOID(keeper_.keep(fmt::format("{}/{}", mount.name, kDevice), mount.session->device()));
    TRY_VOID(keeper_.keep(fmt::format("{}/{}", mount.name, kInit), mount.init.get()));
    if (!mount.mount) return {};
    return keeper_.keep(fmt::format("{}/{}", mount.name, kMount), mount.mount.get());
  }();
  if (!kept) {
    drop(mount);
    return kept;
  }
  mount.asked = mono_now();
  if (mount.mount) tune_read_ahead(mount);
  {
    const std::lock_guard lock(mutex_);
    mounts_.emplace(session.get(), std::move(mount));
  }
  auto added = loop_->add(session);
  if (!added) forget(*session);
  return added;
}

void FuseMounts::drop(const Mount& mount) {
  for (const auto part : {kDevice, kInit, kMount}) keeper_.drop(fmt::format("{}/{}", mount.name, part));
}

/// Nobody has it mounted any more.
void FuseMounts::forget(const FuseSession& session) {
  Mount gone;
  {
    const std::lock_guard lock(mutex_);
    const auto found = mounts_.find(&session);
    if (found == mounts_.end()) return;
    gone = std::move(found->second);
    mounts_.erase(found);
  }
  drop(gone);
  log_info("layer released", {{"layer", gone.layer->index().digest().hex().substr(0, 12)}});
}

void FuseMounts::on_rot(const PackFile& pack, const PageRange& pages) {
  std::vector<std::pair<std::shared_ptr<FuseSession>, std::shared_ptr<CachedLayer>>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [session, mount] : mounts_) all.emplace_back(mount.session, mount.layer);
  }
  for (const auto& [session, layer] : all) {
    session->forget_content(files_in(layer->index(), pack.digest(), pages));
  }
}

Result<FuseMounts::Found> FuseMounts::find(const Digest& layer, uint32_t id_base) {
  const std::lock_guard lock(mutex_);
  for (auto& [session, mount] : mounts_) {
    if (!mount.mount || session->tree().id_base() != id_base || mount.layer->index().digest() != layer) continue;
    mount.asked = mono_now();
    UniqueFd clone(::open_tree(mount.mount.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    if (!clone) return fail_errno("clone a layer's mount", errno);
    return Found{std::move(clone), mount.layer};
  }
  return Found{};
}

void FuseMounts::tune_read_ahead(Mount& mount) {
  const image::LayerIndex& index = mount.layer->index();
  const bool streaming = mount.layer->complete() || index.content_bytes() / index.inode_count() > kLargeFileBytes;
  if (mount.tuned && streaming == mount.streaming) return;
  mount.tuned = true;
  mount.streaming = streaming;
  const uint32_t kib = streaming ? kStreamingReadAheadKib : kScatteredReadAheadKib;
  if (auto set = set_fuse_read_ahead(mount.mount.get(), kib); !set) {
    log_warning("read-ahead stays as the kernel has it", {{"error", set.error().message}});
  }
}

/// Who else has a mount that we give up is served as before; when nobody has, the kernel ends the connection, and the
/// layer is released.
void FuseMounts::keep_house() {
  std::vector<std::pair<std::string, UniqueFd>> given_up;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [session, mount] : mounts_) {
      if (!mount.mount) continue;
      tune_read_ahead(mount);
      const bool wanted_back = core_.leases().is_wanted_back(mount.layer->index().digest());
      if (mono_now() - mount.asked < kKeepFor || !(wanted_back || is_tight(*mount.layer))) continue;
      given_up.emplace_back(fmt::format("{}/{}", mount.name, kMount), std::move(mount.mount));
    }
  }
  for (const auto& [name, mount] : given_up) keeper_.drop(name);
}

}  // namespace hearth::mount
