// The inner loops of the benchmark of mounted trees, each in one process, so that only the file system is measured.
// Prints one JSON object with what was done and the seconds it took.
//
//   reader sequential PATH..   every byte of the files, 1 MiB at a time; with "-" as PATH the paths come on stdin
//   reader random COUNT PATH   COUNT reads of 4 KiB at random pages of the file
//   reader mmap ROUNDS PATH    one byte of every page, through a mapping made anew ROUNDS times
//   reader stat ROUNDS         lstat of every path that comes on stdin, ROUNDS times
//   reader readdir ROUNDS DIR  the names of the whole tree, ROUNDS times
//   reader touched             for every path on stdin the runs of its pages that are in memory: "PATH\tOFFSET\tLENGTH"
#include "base/clock.hpp"
#include "base/file.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::bench {

namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr size_t kPageBytes = 4096;
constexpr uint64_t kSeed = 20261128;  // the same pages in every row

/// What a loop did: "count" calls or names, "bytes" of content.
struct Done {
  uint64_t count = 0;
  uint64_t bytes = 0;
};

std::vector<std::string> paths_on_stdin() {
  std::vector<std::string> paths;
  for (std::string line; std::getline(std::cin, line);) paths.push_back(std::move(line));
  return paths;
}

Result<uint64_t> number_of(std::string_view text) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || number == 0) return fail(ErrorCode::invalid_argument, std::string(text) + "?");
  return number;
}

Result<uint64_t> size_of(const UniqueFd& file, const std::string& path) {
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat " + path, errno);
  return static_cast<uint64_t>(info.st_size);
}

/// A read-only mapping of a whole file; touches nothing by itself.
class Mapping {
 public:
  static Result<Mapping> open(const std::string& path) {
    TRY(const UniqueFd file, open_file(path, O_RDONLY));
    TRY(const uint64_t size, size_of(file, path));
    if (size == 0) return Mapping(nullptr, 0);
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (start == MAP_FAILED) return fail_errno("mmap " + path, errno);
    return Mapping(start, size);
  }
  Mapping(Mapping&& other) noexcept : start_(std::exchange(other.start_, nullptr)), size_(other.size_) {}
  Mapping(const Mapping&) = delete;
  ~Mapping() {
    if (start_ != nullptr) ::munmap(start_, size_);
  }

  size_t pages() const { return (size_ + kPageBytes - 1) / kPageBytes; }
  std::span<const volatile uint8_t> bytes() const { return {static_cast<const volatile uint8_t*>(start_), size_}; }
  /// One byte a page; its lowest bit says that the page is in memory.
  Result<std::vector<uint8_t>> resident() const {
    std::vector<uint8_t> state(pages());
    if (!state.empty() && ::mincore(start_, size_, state.data()) != 0) return fail_errno("mincore", errno);
    return state;
  }

 private:
  Mapping(void* start, size_t size) : start_(start), size_(size) {}

  void* start_;
  size_t size_;
};

Result<Done> read_whole(std::span<const std::string> paths) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kReadBytes);
  Done done;
  for (const std::string& path : paths) {
    TRY(const UniqueFd file, open_file(path, O_RDONLY));
    for (;;) {
      const ssize_t got = ::read(file.get(), buffer.get(), kReadBytes);
      if (got < 0) return fail_errno("read " + path, errno);
      if (got == 0) break;
      done.bytes += static_cast<uint64_t>(got);
    }
    ++done.count;
  }
  return done;
}

Result<Done> read_random(uint64_t count, const std::string& path) {
  TRY(const UniqueFd file, open_file(path, O_RDONLY));
  TRY(const uint64_t size, size_of(file, path));
  if (size < kPageBytes) return fail(ErrorCode::invalid_argument, path + " is smaller than a page");
  std::mt19937_64 random(kSeed);
  std::uniform_int_distribution<uint64_t> any_page(0, size / kPageBytes - 1);
  char page[kPageBytes];
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = static_cast<off_t>(any_page(random) * kPageBytes);
    if (::pread(file.get(), page, kPageBytes, offset) != kPageBytes) return fail_errno("read " + path, errno);
  }
  return Done{.count = count, .bytes = count * kPageBytes};
}

Result<Done> touch_mapped(uint64_t rounds, const std::string& path) {
  Done done;
  for (uint64_t round = 0; round < rounds; ++round) {
    TRY(const Mapping mapping, Mapping::open(path));
    const auto bytes = mapping.bytes();
    uint8_t all = 0;
    for (size_t at = 0; at < bytes.size(); at += kPageBytes) all = static_cast<uint8_t>(all | bytes[at]);
    done.count += mapping.pages();
    done.bytes += bytes.size();
  }
  return done;
}

Result<Done> stat_all(uint64_t rounds, std::span<const std::string> paths) {
  for (uint64_t round = 0; round < rounds; ++round) {
    for (const std::string& path : paths) {
      struct stat info{};
      if (::lstat(path.c_str(), &info) != 0) return fail_errno("stat " + path, errno);
    }
  }
  return Done{.count = rounds * paths.size()};
}

Result<uint64_t> count_names(int parent, const char* name, const std::string& shown) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fail_errno("open " + shown, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(fd), &::closedir);
  uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view child = entry->d_name;
    if (child == "." || child == "..") continue;
    ++count;
    if (entry->d_type != DT_DIR) continue;
    TRY(const uint64_t below, count_names(fd, entry->d_name, shown + "/" + entry->d_name));
    count += below;
  }
  return count;
}

Result<Done> read_folders(uint64_t rounds, const std::string& folder) {
  Done done;
  for (uint64_t round = 0; round < rounds; ++round) {
    TRY(const uint64_t names, count_names(AT_FDCWD, folder.c_str(), folder));
    done.count += names;
  }
  return done;
}

Result<> print_touched(const std::string& path) {
  TRY(const Mapping mapping, Mapping::open(path));
  TRY(const auto state, mapping.resident());
  const size_t size = mapping.bytes().size();
  for (size_t page = 0; page < state.size();) {
    if ((state[page] & 1) == 0) {
      ++page;
      continue;
    }
    const size_t first = page;
    while (page < state.size() && (state[page] & 1) != 0) ++page;
    const size_t end = std::min(page * kPageBytes, size);
    std::printf("%s\t%zu\t%zu\n", path.c_str(), first * kPageBytes, end - first * kPageBytes);
  }
  return {};
}

struct Wanted {
  std::string_view loop;
  std::vector<std::string> arguments;
  std::vector<std::string> paths;  // from stdin
};

Result<Done> run(const Wanted& wanted) {
  const auto& arguments = wanted.arguments;
  const size_t count = arguments.size();
  if (wanted.loop == "sequential" && count > 0) return read_whole(arguments[0] == "-" ? wanted.paths : arguments);
  if (wanted.loop == "random" && count == 2) {
    TRY(const uint64_t reads, number_of(arguments[0]));
    return read_random(reads, arguments[1]);
  }
  if (wanted.loop == "stat" && count == 1) {
    TRY(const uint64_t rounds, number_of(arguments[0]));
    return stat_all(rounds, wanted.paths);
  }
  if (wanted.loop == "mmap" && count == 2) {
    TRY(const uint64_t rounds, number_of(arguments[0]));
    return touch_mapped(rounds, arguments[1]);
  }
  if (wanted.loop == "readdir" && count == 2) {
    TRY(const uint64_t rounds, number_of(arguments[0]));
    return read_folders(rounds, arguments[1]);
  }
  return fail(ErrorCode::invalid_argument, "see the first lines of bench/lazy/reader.cpp");
}

Result<> measure(const Wanted& wanted) {
  if (wanted.loop == "touched") {
    for (const std::string& path : wanted.paths) TRY_VOID(print_touched(path));
    return {};
  }
  const MonoTime began = mono_now();
  TRY(const Done done, run(wanted));
  const double took = std::chrono::duration<double>(mono_now() - began).count();
  std::printf("{\"count\":%llu,\"bytes\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(done.count),
              static_cast<unsigned long long>(done.bytes), took);
  return {};
}

}  // namespace

int serve(std::span<char*> arguments) {
  Wanted wanted;
  if (arguments.size() > 1) wanted.loop = arguments[1];
  for (const char* argument : arguments.subspan(std::min<size_t>(2, arguments.size()))) {
    wanted.arguments.emplace_back(argument);
  }
  const bool from_stdin = !wanted.arguments.empty() && wanted.arguments[0] == "-";
  if (from_stdin || wanted.loop == "stat" || wanted.loop == "touched") wanted.paths = paths_on_stdin();
  const auto measured = measure(wanted);
  if (!measured) std::fprintf(stderr, "reader: %s\n", measured.error().message.c_str());
  return measured ? 0 : 1;
}

}  // namespace hearth::bench

int main(int argc, char** argv) {
  return hearth::bench::serve(std::span(argv, static_cast<size_t>(argc)));
}
