#include "mount/tree_writer.hpp"

#include "base/unique_fd.hpp"
#include "mount/directory_cache.hpp"
#include "oci/file_metadata.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace hearth::mount {

namespace {

using image::FileType;
using image::InodeView;
using image::LayerIndex;
using oci::printable;

constexpr const char* kOpaque = "trusted.overlay.opaque";

Unexpected fail_entry(std::string_view what, std::string_view name, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return fail(ErrorCode::exhausted, "the disk is full: free space below the data directory and try again");
  }
  if (error == EPERM)
    return fail(ErrorCode::denied,
                std::string(what) + " " + printable(name) + " is not permitted: unpacking needs root");
  return fail_errno(std::string(what) + " " + printable(name), error);
}

/// What the threads of one write share.
struct Plan {
  const LayerIndex& index;
  const InodePlaces& places;
  int root;
};

// ---- Names -------------------------------------------------------------------------------------------------

Result<> make_file(int parent, const char* name, uint64_t size) {
  const UniqueFd file(::openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail_entry("create", name, errno);
  if (size > 0 && ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return fail_entry("create", name, errno);
  return {};
}

Result<> make_node(int parent, const char* name, const InodeView& inode) {
  const bool device = inode.type == FileType::character_device || inode.type == FileType::block_device;
  const dev_t number = device ? makedev(inode.device.major, inode.device.minor) : 0;  // a whiteout is 0:0
  const auto mode = static_cast<mode_t>(oci::type_bits(inode.type) | 0600);
  if (::mknodat(parent, name, mode, number) != 0) return fail_entry("create", name, errno);
  return {};
}

Result<> make_entry(int parent, const std::string& name, const InodeView& inode) {
  switch (inode.type) {
    case FileType::regular:
      return make_file(parent, name.c_str(), inode.size);
    case FileType::directory:
      if (::mkdirat(parent, name.c_str(), 0700) != 0) return fail_entry("create", name, errno);
      return {};
    case FileType::symlink:
      if (::symlinkat(std::string(inode.target).c_str(), parent, name.c_str()) != 0) {
        return fail_entry("create", name, errno);
      }
      return {};
    default:
      return make_node(parent, name.c_str(), inode);
  }
}

Result<> make_hard_link(const Plan& plan, DirectoryCache& sources, uint32_t inode, int parent,
                        const std::string& name) {
  TRY(const int source, sources.open(plan.places.directory(inode)));
  const std::string first(plan.places.name(plan.index, inode));
  if (::linkat(source, first.c_str(), parent, name.c_str(), 0) != 0) return fail_entry("link", name, errno);
  return {};
}

/// Directories in order of their numbers: parents before children.
Result<> make_names(const Plan& plan, const std::stop_token& stop) {
  DirectoryCache parents(plan.index, plan.places, plan.root);
  DirectoryCache sources(plan.index, plan.places, plan.root);
  for (uint32_t number = 0; number < plan.index.inode_count(); ++number) {
    const auto directory = plan.index.inode(number);
    if (directory.type != FileType::directory) continue;
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "imagefs is stopping");
    TRY(const int parent, parents.open(number));
    for (uint32_t i = 0; i < directory.count; ++i) {
      const auto entry = plan.index.entry(directory, i);
      const std::string name(entry.name);
      const bool first = plan.places.directory(entry.inode) == number && plan.places.entry(entry.inode) == i;
      if (first) {
        TRY_VOID(make_entry(parent, name, plan.index.inode(entry.inode)));
      } else {
        TRY_VOID(make_hard_link(plan, sources, entry.inode, parent, name));
      }
    }
  }
  return {};
}

// ---- Content -----------------------------------------------------------------------------------------------

/// For each chunk the places it belongs to.
class ChunkUses {
 public:
  struct Use {
    uint32_t inode;
    uint64_t offset;
  };

  explicit ChunkUses(const LayerIndex& index) : starts_(index.chunk_count() + 1, 0) {
    each(index, [this](uint32_t, const image::Extent& extent) { ++starts_[extent.chunk + 1]; });
    for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
    uses_.resize(starts_.back());
    std::vector<size_t> next(starts_.begin(), starts_.end() - 1);
    each(index, [this, &next](uint32_t inode, const image::Extent& extent) {
      uses_[next[extent.chunk]++] = {inode, extent.offset};
    });
  }

  std::span<const Use> of(uint32_t chunk) const {
    return std::span(uses_).subspan(starts_[chunk], starts_[chunk + 1] - starts_[chunk]);
  }

 private:
  template <class Visit>
  static void each(const LayerIndex& index, const Visit& visit) {
    for (uint32_t number = 0; number < index.inode_count(); ++number) {
      const auto inode = index.inode(number);
      if (inode.type != FileType::regular) continue;
      for (uint32_t i = 0; i < inode.count; ++i) visit(number, index.extent(inode, i));
    }
  }

  std::vector<size_t> starts_;
  std::vector<Use> uses_;
};

/// Writes chunks into files; keeps the last file open, since neighbours in a pack are often neighbours in a file.
class ContentWriter {
 public:
  explicit ContentWriter(const Plan& plan) : plan_(plan), directories_(plan.index, plan.places, plan.root) {}

  Result<> write(const ChunkUses::Use& use, std::string_view bytes) {
    if (use.inode != inode_) TRY_VOID(open(use.inode));
    uint64_t at = use.offset;
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail_entry("write", plan_.places.name(plan_.index, use.inode), errno);
      bytes.remove_prefix(static_cast<size_t>(written));
      at += static_cast<uint64_t>(written);
    }
    return {};
  }

 private:
  Result<> open(uint32_t inode) {
    TRY(const int parent, directories_.open(plan_.places.directory(inode)));
    const std::string name(plan_.places.name(plan_.index, inode));
    file_.reset(::openat(parent, name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    inode_ = inode;
    if (!file_) {
      inode_ = UINT32_MAX;
      return fail_entry("open", name, errno);
    }
    return {};
  }

  const Plan& plan_;
  DirectoryCache directories_;
  UniqueFd file_;
  uint32_t inode_ = UINT32_MAX;
};

/// Splits 0..count over threads; the first error wins and the others are told to stop.
template <class Work>
Result<> in_parallel(unsigned threads, uint32_t count, const Work& work) {
  const uint32_t parts = std::clamp<uint32_t>(threads, 1, std::max<uint32_t>(count, 1));
  std::vector<Result<>> results(parts);
  std::atomic<bool> failed = false;
  const auto run = [&work, &results, &failed, parts, count](uint32_t part) {
    const auto first = static_cast<uint32_t>(uint64_t{count} * part / parts);
    const auto last = static_cast<uint32_t>(uint64_t{count} * (part + 1) / parts);
    results[part] = work(first, last, failed);
    if (!results[part]) failed = true;
  };
  {
    std::vector<std::jthread> others;
    for (uint32_t part = 1; part < parts; ++part) others.emplace_back(run, part);
    run(0);
  }
  for (auto& result : results) {  // the cause, not the "cancelled" it led to
    if (!result && result.error().code != ErrorCode::cancelled) return std::move(result);
  }
  for (auto& result : results) {
    if (!result) return std::move(result);
  }
  return {};
}

Result<> write_content(const Plan& plan, const ChunkSource& source, const TreeWriteOptions& options, unsigned threads) {
  const ChunkUses uses(plan.index);
  std::mutex progress_mutex;
  uint64_t done_bytes = 0;
  const auto work = [&plan, &source, &options, &uses, &progress_mutex, &done_bytes](
                        uint32_t first, uint32_t last, const std::atomic<bool>& failed) -> Result<> {
    if (first == last) return {};
    std::vector<uint32_t> chunks;
    for (uint32_t chunk = first; chunk < last; ++chunk) {
      if (!uses.of(chunk).empty()) chunks.push_back(chunk);
    }
    ContentWriter writer(plan);
    const auto sink = [&options, &uses, &progress_mutex, &done_bytes, &failed, &writer](
                          uint32_t chunk, std::string_view bytes) -> Result<> {
      if (failed || options.stop.stop_requested()) return fail(ErrorCode::cancelled, "imagefs is stopping");
      for (const auto& use : uses.of(chunk)) TRY_VOID(writer.write(use, bytes));
      const std::lock_guard lock(progress_mutex);
      done_bytes += bytes.size() * uses.of(chunk).size();
      if (options.on_progress) options.on_progress(done_bytes);
      return {};
    };
    return source(chunks, sink);
  };
  return in_parallel(threads, plan.index.chunk_count(), work);
}

// ---- Metadata: after the content, since writing takes capabilities and times away --------------------------

std::string proc_path(int parent, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(parent) + (name.empty() ? "" : "/" + name);
}

Result<> set_xattrs(const LayerIndex& index, const InodeView& inode, const std::string& path, const std::string& name) {
  // One name below our own descriptor: nothing to follow but the entry itself, and lsetxattr does not. The root has no
  // name, and there the link in /proc must be followed.
  const auto call = name.empty() ? ::setxattr : ::lsetxattr;
  const auto set = [&path, call](const char* key, std::string_view value) {
    return call(path.c_str(), key, value.data(), value.size(), 0) == 0;
  };
  for (uint32_t i = 0; i < inode.xattr_count; ++i) {
    const auto xattr = index.xattr(inode, i);
    const std::string key(xattr.name);
    if (!set(key.c_str(), xattr.value)) return fail_entry("set " + printable(key) + " on", name, errno);
  }
  if (inode.opaque && !set(kOpaque, "y")) return fail_entry("mark as opaque", name, errno);
  return {};
}

Result<> set_metadata(const LayerIndex& index, const InodeView& inode, int parent, const std::string& name) {
  const int flags = AT_SYMLINK_NOFOLLOW | (name.empty() ? AT_EMPTY_PATH : 0);
  if (::fchownat(parent, name.c_str(), inode.uid, inode.gid, flags) != 0) return fail_entry("own", name, errno);
  if (inode.type != FileType::symlink) {
    const int changed = name.empty() ? ::fchmod(parent, inode.mode) : ::fchmodat(parent, name.c_str(), inode.mode, 0);
    if (changed != 0) return fail_entry("set the mode of", name, errno);
  }
  if (inode.xattr_count > 0 || inode.opaque) {
    TRY_VOID(set_xattrs(index, inode, proc_path(parent, name), name));
  }
  const timespec time{.tv_sec = inode.mtime.seconds, .tv_nsec = static_cast<long>(inode.mtime.nanoseconds)};
  const timespec times[2] = {time, time};
  const int timed =
      name.empty() ? ::futimens(parent, times) : ::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
  if (timed != 0) return fail_entry("set the time of", name, errno);
  return {};
}

Result<> set_all_metadata(const Plan& plan, const TreeWriteOptions& options, unsigned threads) {
  const auto work = [&plan, &options](uint32_t first, uint32_t last, const std::atomic<bool>& failed) -> Result<> {
    DirectoryCache parents(plan.index, plan.places, plan.root);
    for (uint32_t number = std::max<uint32_t>(first, 1); number < last; ++number) {
      if (failed || options.stop.stop_requested()) return fail(ErrorCode::cancelled, "imagefs is stopping");
      TRY(const int parent, parents.open(plan.places.directory(number)));
      const std::string name(plan.places.name(plan.index, number));
      TRY_VOID(set_metadata(plan.index, plan.index.inode(number), parent, name));
    }
    return {};
  };
  TRY_VOID(in_parallel(threads, plan.index.inode_count(), work));
  return set_metadata(plan.index, plan.index.inode(0), plan.root, "");
}

}  // namespace

Result<> write_tree(const LayerIndex& index, const ChunkSource& source, int root, const TreeWriteOptions& options) {
  TRY(const auto places, InodePlaces::of(index));
  const Plan plan{index, places, root};
  const unsigned threads =
      options.threads > 0 ? options.threads : std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  TRY_VOID(make_names(plan, options.stop));
  TRY_VOID(write_content(plan, source, options, threads));
  return set_all_metadata(plan, options, threads);
}

}  // namespace hearth::mount
