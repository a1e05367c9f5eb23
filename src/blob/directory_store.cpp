#include "blob/directory_store.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace hearth::blob {

namespace {

constexpr unsigned kFileMode = 0640;
constexpr unsigned kFolderMode = 0750;
constexpr uint64_t kMaxWholeObjectBytes = uint64_t{4} << 30;  // larger ones are read by range
constexpr int kMaxFolderDepth = 64;

bool is_store_trouble(int value) {
  return value == EIO || value == ESTALE || value == ENOTCONN || value == ENODEV || value == ENXIO ||
         value == EHOSTDOWN || value == ETIMEDOUT || value == EREMOTEIO;
}

/// fsync of a folder, so that a new name in it survives a power cut. Some network file systems cannot: that is no
/// failure.
Result<> sync_folder(const std::filesystem::path& folder) {
  TRY(const auto fd, open_file(folder, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != EBADF) return fail_errno("fsync " + folder.string(), errno);
  return {};
}

Result<uint64_t> object_size(int fd, std::string_view key) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return fail_errno("stat object " + std::string(key), errno);
  if (S_ISDIR(info.st_mode)) return fail(ErrorCode::not_found, "no object " + std::string(key));
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::corrupt, "object " + std::string(key) + " is no regular file");
  return static_cast<uint64_t>(info.st_size);
}

Result<std::string> read_exactly(int fd, std::string_view key, uint64_t offset, uint64_t length) {
  std::string bytes;
  int error = 0;
  size_t have = 0;
  const size_t wanted = static_cast<size_t>(length);
  bytes.resize_and_overwrite(wanted, [fd, offset, wanted, &error, &have](char* buffer, size_t) {
    while (have < wanted) {
      const ssize_t got = ::pread(fd, buffer + have, wanted - have, static_cast<off_t>(offset + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) error = errno;
      if (got <= 0) break;
      have += static_cast<size_t>(got);
    }
    return have;
  });
  if (error != 0) {
    return fail(is_store_trouble(error) ? ErrorCode::unavailable : ErrorCode::internal,
                fail_errno("read object " + std::string(key), error).error().message);
  }
  if (have < wanted) {
    return fail(ErrorCode::corrupt, "object " + std::string(key) + " ends at byte " + std::to_string(offset + have) +
                                        ", wanted " + std::to_string(length) + " bytes from " + std::to_string(offset));
  }
  return bytes;
}

Result<> copy_content(int from, int to, const std::filesystem::path& path) {
  for (;;) {
    const ssize_t copied = ::copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (copied == 0) break;
    if (copied > 0) continue;
    if (errno == EINTR) continue;
    if (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) break;
    return fail_errno("copy " + path.string() + " into the store", errno);
  }
  // Whatever the kernel could not copy by itself; nothing when it did.
  std::array<char, 256 * 1024> buffer{};
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path.string(), errno);
    if (got == 0) return {};
    TRY_VOID(write_all(to, std::string_view(buffer.data(), static_cast<size_t>(got)), "object"));
  }
}

}  // namespace

/// A file without its final name yet. Unlinked when dropped, if it has a temporary one.
struct DirectoryStore::Draft {
  UniqueFd fd;
  std::filesystem::path folder;
  std::filesystem::path temporary;  // empty with O_TMPFILE

  Draft(UniqueFd file, std::filesystem::path in, std::filesystem::path name)
      : fd(std::move(file)), folder(std::move(in)), temporary(std::move(name)) {}
  Draft(Draft&&) = default;
  Draft& operator=(Draft&&) = delete;
  ~Draft() {
    if (fd && !temporary.empty()) ::unlink(temporary.c_str());
  }
};

Result<std::shared_ptr<DirectoryStore>> DirectoryStore::open(const std::filesystem::path& root, IfMissing if_missing) {
  if (if_missing == IfMissing::create) {
    auto made = make_directories(root, kFolderMode);
    if (!made) return fail_with_context("make the object store", made.error());
  }
  struct stat info{};
  if (::stat(root.c_str(), &info) != 0) {
    if (errno == ENOENT) {
      return fail(ErrorCode::unavailable, "object store " + root.string() +
                                              " does not exist: mount or make that directory, or correct --store");
    }
    const int error = errno;
    return fail(is_store_trouble(error) ? ErrorCode::unavailable : ErrorCode::denied,
                fail_errno("object store " + root.string(), error).error().message);
  }
  if (!S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::invalid_argument, "object store " + root.string() + " is no directory");
  }
  std::error_code error;
  auto absolute = std::filesystem::absolute(root, error);
  if (error) return fail(ErrorCode::invalid_argument, "object store " + root.string() + ": " + error.message());
  const bool give_away = ::geteuid() == 0 && (info.st_uid != 0 || info.st_gid != ::getegid());
  return std::shared_ptr<DirectoryStore>(new DirectoryStore(std::move(absolute), info.st_uid, info.st_gid, give_away));
}

Unexpected DirectoryStore::failed(std::string_view what, std::string_view key, int errno_value) const {
  const std::string subject = std::string(what) + " object " + std::string(key) + " in the store " + root_.string();
  if (errno_value == ENOSPC || errno_value == EDQUOT) {
    return fail(ErrorCode::exhausted, subject + ": no space left; free space there (or raise the quota) and try again");
  }
  if (is_store_trouble(errno_value)) {
    return fail(ErrorCode::unavailable, fail_errno(subject, errno_value).error().message);
  }
  if (errno_value == ENOENT && ::access(root_.c_str(), F_OK) != 0) {
    return fail(ErrorCode::unavailable, subject + ": the store's directory is gone; mount it again");
  }
  return fail_errno(subject, errno_value);
}

Result<UniqueFd> DirectoryStore::open_object(std::string_view key) const {
  TRY_VOID(check_key(key));
  // O_NONBLOCK: a FIFO somebody put there must not hang us.
  UniqueFd fd(::open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd) return fd;
  const int error = errno;
  if (error == ENOTDIR || (error == ENOENT && ::access(root_.c_str(), F_OK) == 0)) {
    return fail(ErrorCode::not_found, "no object " + std::string(key));
  }
  return failed("open", key, error);
}

Result<std::string> DirectoryStore::get(std::string_view key) {
  TRY(const auto fd, open_object(key));
  TRY(const uint64_t bytes, object_size(fd.get(), key));
  if (bytes > kMaxWholeObjectBytes) {
    return fail(ErrorCode::exhausted, "object " + std::string(key) + " is too large to be read whole");
  }
  return read_exactly(fd.get(), key, 0, bytes);
}

Result<std::string> DirectoryStore::get_range(std::string_view key, uint64_t offset, uint64_t length) {
  TRY(const auto fd, open_object(key));
  TRY(const uint64_t bytes, object_size(fd.get(), key));
  if (offset > bytes || length > bytes - offset) {  // before memory is taken for it
    return fail(ErrorCode::corrupt, "object " + std::string(key) + " has " + std::to_string(bytes) + " bytes, wanted " +
                                        std::to_string(length) + " from " + std::to_string(offset));
  }
  return read_exactly(fd.get(), key, offset, length);
}

Result<> DirectoryStore::make_folders(const std::filesystem::path& folder) const {
  struct stat info{};
  if (::stat(folder.c_str(), &info) == 0) return {};
  if (folder == root_) return fail_errno("open the store", ENOENT);  // never made by us: it may be an unmounted disk
  TRY_VOID(make_folders(folder.parent_path()));
  if (!give_away_) {
    if (::mkdir(folder.c_str(), kFolderMode) != 0 && errno != EEXIST) return fail_errno("mkdir", errno);
    return sync_folder(folder.parent_path());
  }
  // It gets its owner before it gets its name, so that no other process meets a folder of root's.
  const std::filesystem::path temporary = folder.parent_path() / (std::string(kTemporaryPrefix) + random_id());
  if (::mkdir(temporary.c_str(), kFolderMode) != 0) return fail_errno("mkdir", errno);
  int error = 0;
  if (::chown(temporary.c_str(), owner_uid_, owner_gid_) != 0 ||
      ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, folder.c_str(), RENAME_NOREPLACE) != 0) {
    error = errno;
    ::rmdir(temporary.c_str());
  }
  if (error != 0 && error != EEXIST) return fail_errno("mkdir", error);
  return sync_folder(folder.parent_path());
}

Result<DirectoryStore::Draft> DirectoryStore::open_draft(std::string_view key) const {
  TRY_VOID(check_key(key));
  const std::filesystem::path folder = path_of(key).parent_path();
  for (int attempt = 0;; ++attempt) {
    UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kFileMode));
    std::filesystem::path temporary;
    if (!fd && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
      temporary = folder / (std::string(kTemporaryPrefix) + random_id());
      fd.reset(::open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, kFileMode));
    }
    if (fd) return Draft(std::move(fd), folder, std::move(temporary));
    const int error = errno;
    if (error != ENOENT || attempt > 0) return failed("create", key, error);
    if (auto made = make_folders(folder); !made) {
      if (::access(root_.c_str(), F_OK) != 0) return failed("create", key, ENOENT);
      return fail_with_context("create object " + std::string(key), made.error());
    }
  }
}

Result<Created> DirectoryStore::publish(Draft draft, std::string_view key) const {
  const int fd = draft.fd.get();
  if (::fchmod(fd, kFileMode) != 0) return failed("chmod", key, errno);
  if (give_away_ && ::fchown(fd, owner_uid_, owner_gid_) != 0) return failed("chown", key, errno);
  if (::fsync(fd) != 0) return failed("fsync", key, errno);
  const std::filesystem::path source =
      draft.temporary.empty() ? "/proc/self/fd/" + std::to_string(fd) : draft.temporary.string();
  const int flags = draft.temporary.empty() ? AT_SYMLINK_FOLLOW : 0;
  const bool linked = ::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path_of(key).c_str(), flags) == 0;
  if (!linked && errno != EEXIST) return failed("link", key, errno);
  // Also when another was first: whoever is told that the object exists may build on it.
  if (auto synced = sync_folder(draft.folder); !synced) {
    return fail_with_context("create object " + std::string(key), synced.error());
  }
  return linked ? Created::yes : Created::no;
}

Result<Created> DirectoryStore::create(std::string_view key, std::string_view bytes) {
  TRY(auto draft, open_draft(key));
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(draft.fd.get(), bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return failed("write", key, errno);
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return publish(std::move(draft), key);
}

Result<Created> DirectoryStore::create_from_file(std::string_view key, const std::filesystem::path& path) {
  TRY(const auto source, open_file(path, O_RDONLY));
  TRY(auto draft, open_draft(key));
  if (auto copied = copy_content(source.get(), draft.fd.get(), path); !copied) {
    if (copied.error().code == ErrorCode::exhausted) return failed("write", key, ENOSPC);
    return Unexpected(std::move(copied).error());
  }
  return publish(std::move(draft), key);
}

Result<std::optional<uint64_t>> DirectoryStore::size(std::string_view key) {
  TRY_VOID(check_key(key));
  struct stat info{};
  if (::lstat(path_of(key).c_str(), &info) == 0) {
    if (!S_ISREG(info.st_mode)) return std::optional<uint64_t>();
    return std::optional<uint64_t>(static_cast<uint64_t>(info.st_size));
  }
  const int error = errno;
  if (error == ENOTDIR || (error == ENOENT && ::access(root_.c_str(), F_OK) == 0)) return std::optional<uint64_t>();
  return failed("look up", key, error);
}

Result<> DirectoryStore::collect(const std::filesystem::path& folder, std::string_view folder_key,
                                 std::string_view prefix, std::vector<ObjectInfo>& objects) const {
  if (std::ranges::count(folder_key, '/') > kMaxFolderDepth) {
    return fail(ErrorCode::exhausted, "the store nests too deeply at " + folder.string());
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(folder.c_str()), &::closedir);
  if (!stream) {
    const int error = errno;
    if (error == ENOTDIR || (error == ENOENT && ::access(root_.c_str(), F_OK) == 0)) return {};
    return failed("list", folder_key, error);
  }
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) return failed("list", folder_key, errno);
      return {};
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || name.starts_with(kTemporaryPrefix)) continue;
    const std::string key = std::string(folder_key).append(name);
    // What the two have in common must agree: the prefix may end inside this name or below it.
    const size_t common = std::min(key.size(), prefix.size());
    if (std::string_view(key).substr(0, common) != prefix.substr(0, common)) continue;
    struct stat info{};
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;  // removed since
    if (S_ISDIR(info.st_mode)) {
      if (key.size() < prefix.size() && prefix[key.size()] != '/') continue;
      TRY_VOID(collect(folder / name, key + "/", prefix, objects));
    } else if (S_ISREG(info.st_mode) && key.size() >= prefix.size()) {
      objects.push_back({key, static_cast<uint64_t>(info.st_size)});
    }
  }
}

Result<std::vector<ObjectInfo>> DirectoryStore::list_objects(std::string_view prefix) {
  std::vector<ObjectInfo> objects;
  // Begin at the deepest folder the prefix names.
  const size_t slash = prefix.rfind('/');
  const std::string_view folder_key = slash == std::string_view::npos ? "" : prefix.substr(0, slash + 1);
  TRY_VOID(check_prefix(prefix));
  if (folder_key.empty()) {
    if (::access(root_.c_str(), F_OK) != 0) return failed("list", prefix, ENOENT);
  }
  TRY_VOID(collect(root_ / folder_key, folder_key, prefix, objects));
  std::ranges::sort(objects, {}, &ObjectInfo::key);
  return objects;
}

Result<std::vector<std::string>> DirectoryStore::list(std::string_view prefix) {
  TRY(auto objects, list_objects(prefix));
  std::vector<std::string> keys;
  keys.reserve(objects.size());
  for (ObjectInfo& object : objects) keys.push_back(std::move(object.key));
  return keys;
}

Result<std::vector<std::string>> DirectoryStore::folders(std::string_view folder) {
  if (!folder.empty()) TRY_VOID(check_key(folder.substr(0, folder.size() - 1)));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir((root_ / folder).c_str()), &::closedir);
  if (!stream) {
    const int error = errno;
    if (error == ENOTDIR || (error == ENOENT && ::access(root_.c_str(), F_OK) == 0)) return std::vector<std::string>();
    return failed("list", folder, error);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || name.starts_with(kTemporaryPrefix)) continue;
    struct stat info{};
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;  // removed since
    if (S_ISDIR(info.st_mode)) names.emplace_back(name);
  }
  if (errno != 0) return failed("list", folder, errno);
  std::ranges::sort(names);
  return names;
}

Result<> DirectoryStore::remove(std::string_view key) {
  TRY_VOID(check_key(key));
  if (::unlink(path_of(key).c_str()) == 0) return sync_folder(path_of(key).parent_path());
  const int error = errno;
  if (error == ENOTDIR || error == EISDIR || (error == ENOENT && ::access(root_.c_str(), F_OK) == 0)) return {};
  return failed("remove", key, error);
}

}  // namespace hearth::blob
