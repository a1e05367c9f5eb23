// What a read costs that the holder lets go, one that goes through a second process, and one without a holder at all:
// wall time and CPU of each process. Needs root and a file system with pre-content events:
//   cmake --build --preset release -- bench_holder_relay && build/bench/holder_relay [FOLDER]
#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "holder/client.hpp"
#include "holder/event_group.hpp"
#include "holder/server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace hearth::holder {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kPages = 20'000;
constexpr int kRounds = 5;

void must(bool right, const char* what) {
  if (right) return;
  std::perror(what);
  std::exit(1);
}

/// A file whose bytes are all there, so that only events cost; whether they are there is up to the bits.
struct BenchFile {
  explicit BenchFile(const std::filesystem::path& name) : path(name) {
    data = open_file(path, O_RDWR | O_CREAT, 0600).value();
    presence = open_file(path.string() + ".present", O_RDWR | O_CREAT, 0600).value();
    const std::string page(kPage, 'x');
    for (uint64_t i = 0; i < kPages; ++i) must(write_all(data.get(), page, "data").has_value(), "write");
    must(::ftruncate(presence.get(), kPages / 8) == 0, "ftruncate");
    bits =
        static_cast<unsigned char*>(::mmap(nullptr, kPages / 8, PROT_READ | PROT_WRITE, MAP_SHARED, presence.get(), 0));
  }
  void set_all(bool present) { std::fill_n(bits, kPages / 8, present ? 0xFF : 0); }
  bool has(uint64_t page) const { return (bits[page / 8] >> (page % 8) & 1) != 0; }
  void set(uint64_t page) {
    std::atomic_ref(bits[page / 8]).fetch_or(static_cast<unsigned char>(1U << (page % 8)), std::memory_order_release);
  }

  std::filesystem::path path;
  UniqueFd data;
  UniqueFd presence;
  unsigned char* bits = nullptr;
};

class Process {
 public:
  explicit Process(const std::function<void()>& body) : pid_(::fork()) {
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  ~Process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  double cpu_us() const {
    clockid_t clock{};
    timespec used{};
    must(::clock_getcpuclockid(pid_, &clock) == 0 && ::clock_gettime(clock, &used) == 0, "cpu clock");
    return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
  }

 private:
  pid_t pid_;
};

double own_cpu_us() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

/// Reads every page once, by so many threads; returns the seconds.
double read_all(const std::filesystem::path& path, unsigned readers) {
  const MonoTime start = mono_now();
  {
    std::vector<std::jthread> threads;
    for (unsigned reader = 0; reader < readers; ++reader) {
      threads.emplace_back([&path, reader, readers] {
        const UniqueFd fd = open_file(path, O_RDONLY).value();
        char buffer[kPage];
        for (uint64_t page = reader; page < kPages; page += readers) {
          must(::pread(fd.get(), buffer, kPage, static_cast<off_t>(page * kPage)) == kPage, "pread");
        }
      });
    }
  }
  return std::chrono::duration<double>(mono_now() - start).count();
}

struct Cost {
  double wall = 0;
  double readers = 0;
  std::vector<double> others{};
};

/// Medians of some rounds, in µs a read. `others`: the holder and the listener, as far as there are any. `prepare` runs
/// before each round.
void measure(const char* what, const BenchFile& file, unsigned readers, const std::vector<const Process*>& others,
             const std::function<void()>& prepare) {
  std::vector<Cost> rounds;
  for (int round = 0; round < kRounds; ++round) {
    prepare();
    Cost cost{.wall = 0, .readers = -own_cpu_us()};
    for (const Process* other : others) cost.others.push_back(other == nullptr ? 0 : -other->cpu_us());
    cost.wall = read_all(file.path, readers) * 1e6;
    cost.readers += own_cpu_us();
    for (size_t i = 0; i < others.size(); ++i) cost.others[i] += others[i] == nullptr ? 0 : others[i]->cpu_us();
    rounds.push_back(cost);
  }
  const auto median = [&rounds](auto value) {
    std::vector<double> values;
    for (const Cost& cost : rounds) values.push_back(value(cost) / static_cast<double>(kPages));
    std::ranges::nth_element(values, values.begin() + kRounds / 2);
    return values[kRounds / 2];
  };
  std::printf("| %s | %u | %.2f | %.2f |", what, readers, median([](const Cost& c) { return c.wall; }),
              median([](const Cost& c) { return c.readers; }));
  for (size_t i = 0; i < 2; ++i) {
    if (i >= others.size() || others[i] == nullptr) {
      std::printf(" – |");
    } else {
      std::printf(" %.2f |", median([i](const Cost& c) { return c.others[i]; }));
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

/// Stands for imagefs behind the holder: everything is "fetched" at once.
void listen(const std::filesystem::path& socket, BenchFile& file) {
  auto stream = EventStream::open(socket).value();
  for (;;) {
    const auto events = stream.next();
    if (!events) return;
    std::vector<EventAnswer> answers;
    for (const Event& event : *events) {
      for (uint64_t at = event.offset; at < event.offset + event.length; at += kPage) file.set(at / kPage);
      answers.push_back({event.sequence, 0});
    }
    must(stream.answer(answers).has_value(), "answer");
  }
}

/// Stands for an imagefs that reads the group itself: no holder, no second process. Finds the file as it would have to.
void read_group(int group_fd, BenchFile& file) {
  const auto group = EventGroup::adopt(UniqueFd(::dup(group_fd))).value();
  std::vector<WaitingRead> reads;
  for (;;) {
    pollfd ready{group.fd(), POLLIN, 0};
    ::poll(&ready, 1, -1);
    reads.clear();
    must(group.take(EventGroup::kBatch, reads).has_value(), "take");
    for (WaitingRead& read : reads) {
      struct stat info{};
      must(::fstat(read.file.get(), &info) == 0, "fstat");
      for (uint64_t at = read.offset; at < read.end; at += kPage) {
        if (!file.has(at / kPage)) file.set(at / kPage);
      }
      group.answer(std::move(read), 0);
    }
  }
}

/// What the next holder does first when there was one before.
void measure_sweep() {
  const auto group = EventGroup::adopt(fanotify::open_group().value()).value();
  const MonoTime start = mono_now();
  must(group.deny_stale() == 0, "sweep");
  std::printf("\nA sweep of %llu numbers takes %.1f ms.\n", static_cast<unsigned long long>(kDescriptorsMax),
              std::chrono::duration<double, std::milli>(mono_now() - start).count());
}

void run(const std::filesystem::path& folder) {
  BenchFile file(folder / "data");
  BenchFile unmarked(folder / "unmarked");
  const auto socket = folder / "holder.sock";
  const UniqueFd group = fanotify::open_group().value();
  const auto marked = fanotify::mark(group.get(), file.data.get());
  if (!marked) {
    std::printf("kernel has no pre-content events: %s\n", marked.error().message.c_str());
    return;
  }
  std::printf(
      "| a read of 4 KiB, cached (µs, medians of %d) | readers | wall | CPU reader | CPU holder | CPU listener |\n",
      kRounds);
  std::printf("|---|---|---|---|---|---|\n");
  const auto nothing = [] {};
  for (const unsigned readers : {1U, 16U}) measure("no mark", unmarked, readers, {}, nothing);
  {
    const Process listener([&] { read_group(group.get(), file); });
    for (const unsigned readers : {1U, 16U}) {
      measure("listener reads the group itself", file, readers, {nullptr, &listener}, [&] { file.set_all(false); });
    }
  }
  const Process holder([&] { (void)serve({.socket = socket}); });
  while (!SeqpacketSocket::connect(socket)) std::this_thread::sleep_for(milliseconds(1));
  Client client(socket);
  must(client.relay(group.get(), {.name = "group", .predecessor = {}, .timeout = seconds(60)}).has_value(), "relay");
  must(client
           .track({.name = "pack",
                   .token = 1,
                   .data_fd = file.data.get(),
                   .presence_fd = file.presence.get(),
                   .header_bytes = 0})
           .has_value(),
       "track");
  file.set_all(true);
  for (const unsigned readers : {1U, 16U}) {
    measure("pages there: holder alone", file, readers, {&holder}, nothing);
  }
  {
    std::vector<Client> idle;
    for (int i = 0; i < 500; ++i) must(idle.emplace_back(socket).list("").has_value(), "idle connection");
    measure("the same, 500 idle connections", file, 1, {&holder}, nothing);
  }
  const Process listener([&] { listen(socket, file); });
  for (const unsigned readers : {1U, 16U}) {
    measure("pages missing: holder and listener", file, readers, {&holder, &listener}, [&] { file.set_all(false); });
  }
  measure_sweep();
}

}  // namespace
}  // namespace hearth::holder

int main(int argc, char** argv) {
  hearth::log_configure("bench", hearth::LogLevel::warning);
  const auto folder = std::filesystem::path(argc > 1 ? argv[1] : "/var/tmp") / ("holder-relay-" + hearth::random_id(8));
  std::filesystem::create_directories(folder);
  hearth::holder::run(folder);
  std::filesystem::remove_all(folder);
}
