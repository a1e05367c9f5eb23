#include "mount/backend_probe.hpp"

#include "base/clock.hpp"
#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/random_id.hpp"
#include "image/erofs_image.hpp"
#include "image/file_tree.hpp"
#include "image/layer_encoder.hpp"
#include "mount/erofs_mount.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <string>

namespace hearth::mount {

namespace {

constexpr milliseconds kEventTime{2000};  // an event comes within microseconds, or never
constexpr const char* kName = "canary";

/// Two unnamed files and a detached mount: gone with their descriptors.
struct Canary {
  std::string content;
  UniqueFd data;   // sparse; opened before the mark
  UniqueFd mount;  // whose only file lies in it
};

Result<UniqueFd> unnamed_file(const std::filesystem::path& dir) {
  const auto path = dir / (".tmp-canary-" + random_id(8));
  TRY(auto file, open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600));
  ::unlink(path.c_str());
  return file;
}

/// A layer of one file of one page.
Result<image::LayerIndex> canary_layer(const std::string& content) {
  image::FileTree tree;
  image::FileTree::Inode file;
  file.attributes.mode = 0600;
  file.size = content.size();
  file.extents = {{.offset = 0, .length = static_cast<uint32_t>(content.size()), .chunk = 0}};
  tree.link(image::kRootInode, kName, tree.add(std::move(file)));
  image::ChunkTable chunks;
  chunks.of_ticket = {0};
  chunks.chunks = {{Digest::of(content), static_cast<uint32_t>(content.size())}};
  chunks.locations = {{.pack = 0, .offset = 0, .stored_length = static_cast<uint32_t>(content.size())}};
  chunks.packs = {{.digest = Digest::of(content), .size = content.size(), .plain_size = content.size()}};
  TRY(auto encoded, image::encode_layer(tree, chunks));
  return image::LayerIndex::decode(std::move(encoded.bytes));
}

Result<Canary> make_canary(const std::filesystem::path& dir, int group) {
  Canary canary;
  canary.content = random_id(image::kPageBytes);
  TRY(const auto index, canary_layer(canary.content));
  TRY(canary.data, unnamed_file(dir));
  if (::ftruncate(canary.data.get(), image::kPageBytes) != 0) return fail_errno("make a sparse file", errno);
  TRY_VOID(fanotify::mark(group, canary.data.get()));
  TRY(const auto metadata, unnamed_file(dir));
  TRY_VOID(image::write_erofs(index, metadata.get()));
  const std::array devices{canary.data.get()};
  TRY(canary.mount, mount_erofs(metadata.get(), devices));
  return canary;
}

std::string read_canary(int mount) {
  const UniqueFd file(::openat(mount, kName, O_RDONLY | O_CLOEXEC));
  std::string bytes(image::kPageBytes, '\0');
  const ssize_t size = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  bytes.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return bytes;
}

/// Fills the canary when its event comes.
Result<> serve_event(const Canary& canary, int group) {
  pollfd waiting{group, POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(kEventTime.count())) != 1) {
    return fail(ErrorCode::unavailable, "a read of a marked file raised no event (Linux 6.15 or later is needed)");
  }
  alignas(fanotify_event_metadata) std::array<char, 4096> buffer{};
  const ssize_t size = ::read(group, buffer.data(), buffer.size());
  if (size < static_cast<ssize_t>(sizeof(fanotify_event_metadata))) return fail_errno("read an event", errno);
  const auto* event = reinterpret_cast<const fanotify_event_metadata*>(buffer.data());
  const UniqueFd file(event->fd);
  const bool filled = ::pwrite(canary.data.get(), canary.content.data(), canary.content.size(), 0) ==
                      static_cast<ssize_t>(canary.content.size());
  const fanotify_response response{event->fd, filled ? uint32_t{FAN_ALLOW} : fanotify::deny_with(EIO)};
  if (::write(group, &response, sizeof response) != sizeof response) return fail_errno("answer an event", errno);
  if (!filled) return fail(ErrorCode::unavailable, "the cache's disk cannot be written");
  return {};
}

}  // namespace

Result<> probe_erofs(const std::filesystem::path& dir) {
  TRY_VOID(make_directories(dir, 0700));
  TRY(UniqueFd group, fanotify::open_group());
  TRY(const Canary canary, make_canary(dir, group.get()));
  auto reader = std::async(std::launch::async, [mount = canary.mount.get()] { return read_canary(mount); });
  const auto served = serve_event(canary, group.get());
  group.reset();  // lets a reader go whose event was not answered
  const std::string seen = reader.get();
  TRY_VOID(served);
  if (seen == canary.content) return {};
  return fail(ErrorCode::unavailable, "a reader of a marked file did not see what was filled in while it waited");
}

Result<> probe_fuse() {
  const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) {
    return fail(ErrorCode::unavailable,
                errno == ENOENT ? "there is no /dev/fuse (modprobe fuse)" : "/dev/fuse cannot be opened");
  }
  const UniqueFd context(::fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return fail(ErrorCode::unavailable, "this kernel mounts no FUSE file systems");
  return {};
}

}  // namespace hearth::mount
