#include "mount/testing/posix_reads.hpp"

#include "mount/testing/posix_answer.hpp"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

namespace hearth::mount::testing {

namespace {

using Path = std::filesystem::path;

std::string yes(bool truth) {
  return truth ? "yes" : "no";
}

PosixRow seek_row(std::string question, std::string name, std::pair<off_t, int> to, std::string answer) {
  return {std::move(question),
          [name, to](const Path& at) { return number(::lseek(reader(at / name).get(), to.first, to.second)); },
          std::move(answer)};
}

std::string preading(const Path& path, size_t size, off_t offset) {
  std::string bytes(size, '?');
  return number(::pread(reader(path).get(), bytes.data(), size, offset));
}

/// What a mapping of `size` bytes shows is what `expected` says, whether or not it was read before.
bool maps_as(const Path& path, const std::string& expected, int protection) {
  const UniqueFd file = reader(path);
  void* const map = ::mmap(nullptr, expected.size(), protection, MAP_PRIVATE, file.get(), 0);
  if (map == MAP_FAILED) return false;
  auto* const bytes = static_cast<char*>(map);
  bool right = std::string_view(bytes, expected.size()) == expected;
  if ((protection & PROT_WRITE) != 0) {
    bytes[0] = static_cast<char>(bytes[0] ^ 1);  // of this process alone
    std::string first(1, '?');
    right = right && ::pread(file.get(), first.data(), 1, 0) == 1 && first[0] == expected[0];
  }
  ::munmap(map, expected.size());
  return right;
}

std::string sparse_content() {
  std::string bytes(kSparseBytes, '\0');
  const std::string data = noise(4096, 5);
  bytes.replace(0, data.size(), data);
  bytes.replace(kSparseData, data.size(), data);
  return bytes;
}

}  // namespace

std::vector<PosixRow> read_rows() {
  return {
      {"read all", [](const Path& at) { return yes(must(read_file(at / "file")) == file_content()); }, "yes"},
      {"map all", [](const Path& at) { return yes(maps_as(at / "file", file_content(), PROT_READ)); }, "yes"},
      {"map the sparse", [](const Path& at) { return yes(maps_as(at / "sparse", sparse_content(), PROT_READ)); },
       "yes"},
      {"write to a private mapping",
       [](const Path& at) { return yes(maps_as(at / "file", file_content(), PROT_READ | PROT_WRITE)); }, "yes"},
      {"zeros follow the end in a mapping",
       [](const Path& at) {
         constexpr size_t kThreePages = 12'288;
         return yes(maps_as(at / "file", file_content() + std::string(kThreePages - 10'000, '\0'), PROT_READ));
       },
       "yes"},
      {"map shared to write",
       [](const Path& at) {
         void* const map = ::mmap(nullptr, 1, PROT_WRITE, MAP_SHARED, reader(at / "file").get(), 0);
         return said(map == MAP_FAILED ? -1 : 0);
       },
       "EACCES"},
      {"read across the end", [](const Path& at) { return preading(at / "file", 4096, 9'990); }, "10"},
      {"read at the end", [](const Path& at) { return preading(at / "file", 4096, 10'000); }, "0"},
      {"read beyond the end", [](const Path& at) { return preading(at / "file", 4096, 1 << 30); }, "0"},
      {"read nothing", [](const Path& at) { return preading(at / "file", 0, 5); }, "0"},
      {"read before the begin", [](const Path& at) { return preading(at / "file", 1, -1); }, "EINVAL"},
      {"read what is empty", [](const Path& at) { return preading(at / "empty", 1, 0); }, "0"},
      {"read a folder", [](const Path& at) { return preading(at / "dir", 1, 0); }, "EISDIR"},
      {"read in odd pieces",
       [](const Path& at) {
         const UniqueFd file = reader(at / "file");
         std::string bytes;
         std::array<char, 777> piece{};
         for (ssize_t got = 0; (got = ::read(file.get(), piece.data(), piece.size())) > 0;)
           bytes.append(piece.data(), static_cast<size_t>(got));
         return yes(bytes == file_content());
       },
       "yes"},
      {"read into two places",
       [](const Path& at) {
         std::string one(100, '?');
         std::string two(5'000, '?');
         const std::array<iovec, 2> places{iovec{one.data(), one.size()}, iovec{two.data(), two.size()}};
         const ssize_t got = ::preadv(reader(at / "file").get(), places.data(), 2, 4'000);
         return yes(got == 5'100 && one + two == file_content().substr(4'000, 5'100));
       },
       "yes"},
      seek_row("data of a sparse file", "sparse", {0, SEEK_DATA}, "0"),
      seek_row("data behind a hole", "sparse", {100'000, SEEK_DATA}, std::to_string(kSparseData)),
      seek_row("data within data", "sparse", {kSparseData + 5, SEEK_DATA}, std::to_string(kSparseData + 5)),
      seek_row("data where only a hole follows", "sparse", {kSparseData + 4096, SEEK_DATA}, "ENXIO"),
      seek_row("a hole of a sparse file", "sparse", {0, SEEK_HOLE}, "4096"),
      seek_row("a hole within a hole", "sparse", {100'000, SEEK_HOLE}, "100000"),
      seek_row("a hole beyond the end", "sparse", {kSparseBytes, SEEK_HOLE}, "ENXIO"),
      seek_row("data beyond the end", "sparse", {kSparseBytes, SEEK_DATA}, "ENXIO"),
      seek_row("a hole of a full file is its end", "file", {0, SEEK_HOLE}, "10000"),
      seek_row("data of an empty file", "empty", {0, SEEK_DATA}, "ENXIO"),
      seek_row("the end", "file", {0, SEEK_END}, "10000"),
      seek_row("beyond the end", "file", {5, SEEK_END}, "10005"),
      seek_row("before the begin", "file", {-1, SEEK_SET}, "EINVAL"),
      seek_row("from nowhere", "file", {0, 77}, "EINVAL"),
      {"advice is taken",
       [](const Path& at) { return said(-::posix_fadvise(reader(at / "file").get(), 0, 0, POSIX_FADV_DONTNEED)); },
       "ok"},
      {"what was dropped from the page cache is read again",
       [](const Path& at) { return yes(must(read_file(at / "file")) == file_content()); }, "yes"},
  };
}

namespace {

using Directory = std::unique_ptr<DIR, decltype([](DIR* dir) { ::closedir(dir); })>;

struct Listed {
  std::string name;
  unsigned char type;
  ino_t ino;
  long behind;  // telldir after it
};

std::vector<Listed> rest_of(DIR* dir) {
  std::vector<Listed> found;
  while (const dirent* entry = ::readdir(dir)) {
    found.push_back({entry->d_name, entry->d_type, entry->d_ino, ::telldir(dir)});
  }
  return found;
}

std::string all_names() {
  std::set<std::string> names{".", ".."};
  for (int i = 0; i < kManyNames; ++i) names.insert("entry-" + std::to_string(i));
  std::string text;
  for (const auto& name : names) text += name + "\n";
  return text;
}

std::string names_of(const std::vector<Listed>& entries) {
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.name);
  std::ranges::sort(names);
  std::string text;
  for (const auto& name : names) text += name + "\n";
  return text;
}

/// From every position that telldir gave, seekdir leads to what came next there.
bool seeks_right(DIR* dir) {
  const auto all = rest_of(dir);
  for (size_t i = 0; i + 1 < all.size(); i += 7) {
    ::seekdir(dir, all[i].behind);
    const dirent* const next = ::readdir(dir);
    if (next == nullptr || next->d_name != all[i + 1].name) return false;
  }
  ::seekdir(dir, all.back().behind);
  return ::readdir(dir) == nullptr;
}

/// With a buffer that holds only few entries.
std::string names_by_small_calls(const Path& path) {
  const UniqueFd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<Listed> found;
  alignas(dirent64) std::array<char, 512> buffer{};
  for (ssize_t got = 0; (got = ::getdents64(dir.get(), buffer.data(), buffer.size())) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const auto* const entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      found.push_back({entry->d_name, entry->d_type, entry->d_ino, 0});
      at += entry->d_reclen;
    }
  }
  return names_of(found);
}

bool tells_what_stat_tells(const Path& path) {
  const Directory dir(::opendir(path.c_str()));
  const auto entries = rest_of(dir.get());
  return std::ranges::all_of(entries, [&path](const Listed& entry) {
    struct stat status{};
    if (entry.name == "..") return true;  // of the mount's root it lies outside
    return ::lstat((path / entry.name).c_str(), &status) == 0 && IFTODT(status.st_mode) == entry.type &&
           status.st_ino == entry.ino;
  });
}

}  // namespace

std::vector<PosixRow> directory_rows() {
  const auto with = [](const char* question, const char* name, std::function<std::string(DIR*)> ask,
                       std::string answer) {
    return PosixRow{question,
                    [name, ask = std::move(ask)](const Path& at) {
                      const Directory dir(::opendir((at / name).c_str()));
                      return dir ? ask(dir.get()) : ::strerrorname_np(errno);
                    },
                    std::move(answer)};
  };
  return {
      with(
          "list many names", "many", [](DIR* dir) { return names_of(rest_of(dir)); }, all_names()),
      with(
          "list them again from the begin", "many",
          [](DIR* dir) {
            rest_of(dir);
            ::rewinddir(dir);
            return names_of(rest_of(dir));
          },
          all_names()),
      with(
          "seek to where telldir said", "many", [](DIR* dir) { return yes(seeks_right(dir)); }, "yes"),
      with(
          "list what is empty", "dir/sub", [](DIR* dir) { return names_of(rest_of(dir)); }, ".\n..\n"),
      {"list by small calls", [](const Path& at) { return names_by_small_calls(at / "many"); }, all_names()},
      {"types and inode numbers are those of stat", [](const Path& at) { return yes(tells_what_stat_tells(at)); },
       "yes"},
      {"also below", [](const Path& at) { return yes(tells_what_stat_tells(at / "many")); }, "yes"},
      {"list a file", [](const Path& at) { return said(::opendir((at / "file").c_str()) == nullptr ? -1 : 0); },
       "ENOTDIR"},
  };
}

namespace {

struct stat status_of(const Path& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) status.st_size = -1;
  return status;
}

std::string xattr(const Path& path, const char* name, size_t room) {
  std::string value(room, '\0');
  const ssize_t size = ::lgetxattr(path.c_str(), name, value.data(), room);
  if (size < 0) return ::strerrorname_np(errno);
  return room == 0 ? std::to_string(size) : value.substr(0, static_cast<size_t>(size));
}

/// Comma-separated, in order; security modules may add names of their own, which are left out.
std::string xattr_names(const Path& path) {
  std::string names(4096, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0) return ::strerrorname_np(errno);
  std::set<std::string> sorted;
  for (size_t at = 0; at < static_cast<size_t>(size); at += std::strlen(&names[at]) + 1) sorted.insert(&names[at]);
  std::erase_if(sorted, [](const std::string& name) { return name.starts_with("security."); });
  std::string text;
  for (const auto& name : sorted) text += (text.empty() ? "" : ",") + name;
  return text;
}

std::string link_target(const Path& path, size_t room) {
  std::string target(room, '\0');
  return number(::readlink(path.c_str(), target.data(), room));
}

std::vector<PosixRow> xattr_rows() {
  return {
      {"an xattr", [](const Path& at) { return xattr(at / "file", "user.color", 100); }, "blue"},
      {"the size of an xattr", [](const Path& at) { return xattr(at / "file", "user.color", 0); }, "4"},
      {"an xattr with too little room", [](const Path& at) { return xattr(at / "file", "user.color", 3); }, "ERANGE"},
      {"an empty xattr", [](const Path& at) { return xattr(at / "file", "user.nothing", 0); }, "0"},
      {"an xattr that is not there", [](const Path& at) { return xattr(at / "file", "user.none", 100); }, "ENODATA"},
      {"an xattr of a file without any", [](const Path& at) { return xattr(at / "empty", "user.color", 100); },
       "ENODATA"},
      {"security.capability, which each exec asks for",
       [](const Path& at) { return xattr(at / "script", "security.capability", 100); }, "ENODATA"},
      {"a trusted xattr", [](const Path& at) { return xattr(at / "file", "trusted.key", 100); }, "hidden"},
      {"a user's xattr of a link", [](const Path& at) { return xattr(at / "link", "user.color", 100); }, "ENODATA"},
      {"an xattr without a name", [](const Path& at) { return xattr(at / "file", "", 100); }, "ERANGE"},
      {"the names of xattrs", [](const Path& at) { return xattr_names(at / "file"); },
       "trusted.key,user.color,user.nothing"},
      {"the names that somebody sees",
       [](const Path& at) { return as_somebody([&] { return xattr_names(at / "file"); }); }, "user.color,user.nothing"},
      {"no names of xattrs", [](const Path& at) { return xattr_names(at / "empty"); }, ""},
      {"names of xattrs with too little room",
       [](const Path& at) {
         std::array<char, 5> room{};
         return number(::llistxattr((at / "file").c_str(), room.data(), room.size()));
       },
       "ERANGE"},
  };
}

}  // namespace

std::vector<PosixRow> attribute_rows() {
  std::vector<PosixRow> rows{
      {"the size of a link is its target's", [](const Path& at) { return number(status_of(at / "link").st_size); },
       "4"},
      {"the size of a long link", [](const Path& at) { return number(status_of(at / "long-link").st_size); }, "4000"},
      {"readlink", [](const Path& at) { return link_target(at / "long-link", 8192); }, "4000"},
      {"readlink with too little room", [](const Path& at) { return link_target(at / "long-link", 10); }, "10"},
      {"readlink of a file", [](const Path& at) { return link_target(at / "file", 10); }, "EINVAL"},
      {"names of a file", [](const Path& at) { return number(static_cast<long>(status_of(at / "hard-1").st_nlink)); },
       "2"},
      {"both are one inode",
       [](const Path& at) { return yes(status_of(at / "hard-1").st_ino == status_of(at / "hard-2").st_ino); }, "yes"},
      {"another file is not",
       [](const Path& at) { return yes(status_of(at / "hard-1").st_ino == status_of(at / "file").st_ino); }, "no"},
      {"names of a folder with one in it",
       [](const Path& at) { return number(static_cast<long>(status_of(at / "dir").st_nlink)); }, "3"},
      {"the owner", [](const Path& at) { return number(status_of(at / "hard-2").st_uid); }, "1234"},
      {"the group", [](const Path& at) { return number(status_of(at / "hard-2").st_gid); }, "4321"},
      {"set-user-id", [](const Path& at) { return number(status_of(at / "setuid").st_mode & 07777); }, "2541"},
      {"sticky", [](const Path& at) { return number(status_of(at / "sticky").st_mode & 07777); }, "1023"},
      {"the device", [](const Path& at) { return yes(status_of(at / "null").st_rdev == makedev(1, 3)); }, "yes"},
      {"when it was changed", [](const Path& at) { return number(status_of(at / "file").st_mtim.tv_sec); },
       "1000000000"},
      {"and to the nanosecond", [](const Path& at) { return number(status_of(at / "file").st_mtim.tv_nsec); },
       "123456789"},
      {"reading changes no time",
       [](const Path& at) {
         const auto before = status_of(at / "dir/inner").st_atim;
         (void)must(read_file(at / "dir/inner"));
         const auto after = status_of(at / "dir/inner").st_atim;
         return yes(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec);
       },
       "yes"},
      {"a file system that cannot be written",
       [](const Path& at) {
         struct statvfs status{};
         return ::statvfs(at.c_str(), &status) == 0 ? yes((status.f_flag & ST_RDONLY) != 0) : "?";
       },
       "yes"},
      {"names may be so long",
       [](const Path& at) {
         struct statvfs status{};
         return ::statvfs(at.c_str(), &status) == 0 ? std::to_string(status.f_namemax) : "?";
       },
       "255"},
  };
  for (auto& row : xattr_rows()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace hearth::mount::testing
