#include "build/build_jail.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace hearth::build {
namespace {

constexpr size_t kTailLines = 25;
constexpr size_t kLineMax = 4'000;
constexpr uint64_t kMemoryMin = uint64_t{1} << 30;
constexpr uint32_t kPids = 4'096;

/// Three quarters of the machine: compilers are hungry, and what serves must live on.
uint64_t build_memory() {
  const auto pages = static_cast<uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L));
  const auto page = static_cast<uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 0L));
  return std::max(pages * page / 4 * 3, kMemoryMin);
}

}  // namespace

void BuildLog::line(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  if (text.empty()) return;
  std::string masked = mask_.masked(text.substr(0, kLineMax));
  if (last_.size() == kTailLines) last_.erase(last_.begin());
  last_.push_back(masked);
  if (progress_) progress_({.phase = phase_, .log = std::move(masked)});
}

void BuildLog::write(std::string_view bytes) {
  partial_ += bytes;
  size_t at = 0;
  for (size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n', at)) {
    line(std::string_view(partial_).substr(at, end - at));
    at = end + 1;
  }
  partial_.erase(0, at);
  if (partial_.size() > 16 * kLineMax) finish();
}

void BuildLog::finish() {
  const std::string rest = std::exchange(partial_, {});
  line(rest);
}

std::string BuildLog::tail() const {
  std::string text;
  for (const std::string& line : last_) text += (text.empty() ? "" : "\n") + line;
  return text;
}

Result<int> run_in_jail(container::ContainerRuntime& runtime, JailProgram program, BuildLog& log,
                        const std::stop_token& stop) {
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the build was cancelled");
  TRY_VOID(make_directories(program.scratch / "upper"));
  TRY_VOID(make_directories(program.scratch / "work"));
  const std::string id = "b-" + random_id(10);
  container::ContainerSpec spec;
  spec.id = id;
  spec.hostname = "build";
  spec.argv = std::move(program.argv);
  spec.env = std::move(program.env);
  spec.cwd = program.cwd;
  spec.uid = 0;
  spec.gid = 0;
  spec.home = "/root";
  spec.ids = program.ids;
  spec.limits.cpus = std::max(std::thread::hardware_concurrency(), 1u);
  spec.limits.memory_bytes = build_memory();
  spec.limits.pids = kPids;
  spec.network = program.network;
  spec.capabilities = std::move(program.capabilities);
  spec.layers = std::move(program.layers);
  spec.writable = container::WritableLayer{program.scratch / "upper", program.scratch / "work"};
  spec.binds = std::move(program.binds);

  const std::stop_callback kill(stop, [&runtime, &id] {
    if (auto destroyed = runtime.destroy(id); !destroyed) {
      log_warning("a cancelled build goes on", {{"container", id}, {"error", destroyed.error().message}});
    }
  });
  auto code = runtime.run(std::move(spec), [&log](std::string_view bytes) { log.write(bytes); }, program.deadline);
  log.finish();
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the build was cancelled");
  return code;
}

}  // namespace hearth::build
