#include "mount/unpack_backend.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/quantity.hpp"
#include "base/random_id.hpp"
#include "image/layer_reader.hpp"
#include "mount/boot_id.hpp"
#include "mount/grants.hpp"
#include "mount/tree_writer.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kUnpackAtOnce = 2;  // layers; each uses every core while it decompresses
constexpr milliseconds kProgressEvery{100};

/// One effort to unpack a layer, shared by all who wait for it.
struct Flight {
  std::mutex mutex;
  std::condition_variable changed;
  LayerProgress progress;
  std::optional<Result<>> result;
};

Result<> remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);  // follows no links
  if (error) return fail_errno("remove " + path.string(), error.value());
  return {};
}

Result<> make_private_directory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("make " + path.string(), errno);
  return {};
}

/// Removes its directory unless told to keep it.
class Unfinished {
 public:
  explicit Unfinished(fs::path path) : path_(std::move(path)) {}
  ~Unfinished() {
    if (path_.empty()) return;
    if (auto removed = remove_tree(path_); !removed) {
      log_warning("a half-unpacked layer stays until the next start", {{"error", removed.error().message}});
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

Result<> check_space(const fs::path& dir, uint64_t needed) {
  struct statvfs space{};
  if (::statvfs(dir.c_str(), &space) != 0) return fail_errno("look at " + dir.string(), errno);
  const uint64_t free = uint64_t{space.f_bavail} * space.f_frsize;
  if (needed <= free) return {};
  return fail(ErrorCode::exhausted, "the disk is full: the layer needs " + format_bytes(needed) + ", " + dir.string() +
                                        " has " + format_bytes(free) + " left");
}

}  // namespace

struct UnpackBackend::State {
  fs::path dir;
  UniqueFd dir_lock;  // on DIR, for as long as this process lives
  std::shared_ptr<blob::ObjectStore> store;
  std::string boot;
  std::stop_source stopping;
  std::counting_semaphore<kUnpackAtOnce> permits{kUnpackAtOnce};

  std::mutex mutex;
  std::unordered_map<Digest, std::shared_ptr<Flight>> flights;
  struct Task {
    std::shared_ptr<std::atomic<bool>> done;
    std::jthread thread;
  };
  std::vector<Task> tasks;  // flights, and layers being written to disk; joined at the end

  fs::path layer(const Digest& digest) const { return dir / "layers" / digest.hex(); }

  void spawn(std::function<void()> work);  // `mutex` is held
  Result<> clear_leftovers();
  std::shared_ptr<Flight> join_or_start(const std::string& workspace, const Digest& digest);
  Result<> wait_for(Flight& flight, const ProgressSink& progress);
  void fly(const std::string& workspace, const Digest& digest, const std::shared_ptr<Flight>& flight);
  Result<> unpack(const std::string& workspace, const Digest& digest, Flight& flight);
  void make_durable(const fs::path& layer);
  Result<UniqueFd> mount(const Digest& digest) const;
};

void UnpackBackend::State::spawn(std::function<void()> work) {
  std::erase_if(tasks, [](const Task& task) { return task.done->load(); });
  auto done = std::make_shared<std::atomic<bool>>(false);
  tasks.push_back({done, std::jthread([done, run = std::move(work)] {
                     run();
                     *done = true;
                   })});
}

/// Half-made layers go; whole ones stay if they are on disk, or if this is still the boot that wrote them.
Result<> UnpackBackend::State::clear_leftovers() {
  TRY_VOID(remove_tree(dir / "tmp"));
  for (const char* name : {"tmp", "layers", "grants"}) TRY_VOID(make_private_directory(dir / name));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir / "layers", error)) {
    const auto text = read_file(entry.path() / "state");
    const auto state = json::parse(text.value_or(""), nullptr, false);
    if (state.is_object() && state.value("durable", false)) continue;
    if (state.is_object() && state.value("boot", "") == boot && !boot.empty()) {
      const std::lock_guard lock(mutex);
      spawn([this, path = entry.path()] { make_durable(path); });
      continue;
    }
    log_info("removing a layer that may not have reached the disk", {{"layer", entry.path().filename().string()}});
    TRY_VOID(remove_tree(entry.path()));
  }
  if (error) return fail_errno("list " + dir.string(), error.value());
  return {};
}

std::shared_ptr<Flight> UnpackBackend::State::join_or_start(const std::string& workspace, const Digest& digest) {
  const std::lock_guard lock(mutex);
  auto& flight = flights[digest];
  if (flight) return flight;
  flight = std::make_shared<Flight>();
  if (fs::exists(layer(digest))) {  // another flight landed a moment ago
    auto landed = std::exchange(flight, nullptr);
    flights.erase(digest);
    landed->result.emplace();
    return landed;
  }
  spawn([this, workspace, digest, mine = flight] { fly(workspace, digest, mine); });
  return flight;
}

Result<> UnpackBackend::State::wait_for(Flight& flight, const ProgressSink& progress) {
  LayerProgress told{.done_bytes = UINT64_MAX};
  for (;;) {
    std::unique_lock lock(flight.mutex);
    flight.changed.wait_for(lock, kProgressEvery, [&flight] { return flight.result.has_value(); });
    if (flight.result) return *flight.result;
    const auto now = flight.progress;
    lock.unlock();
    if (now.done_bytes == told.done_bytes && now.total_bytes == told.total_bytes) continue;
    told = now;
    progress(now);
  }
}

void UnpackBackend::State::fly(const std::string& workspace, const Digest& digest,
                               const std::shared_ptr<Flight>& flight) {
  permits.acquire();
  auto result = unpack(workspace, digest, *flight);
  permits.release();
  const bool landed = result.has_value();
  if (!landed) result = fail_with_context("unpack layer " + digest.to_string(), result.error());
  {
    const std::lock_guard lock(mutex);
    flights.erase(digest);  // a failed one can be asked for again
  }
  {
    const std::lock_guard lock(flight->mutex);
    flight->result = std::move(result);
  }
  flight->changed.notify_all();
  if (landed) make_durable(layer(digest));
}

Result<> UnpackBackend::State::unpack(const std::string& workspace, const Digest& digest, Flight& flight) {
  if (stopping.stop_requested()) return fail(ErrorCode::cancelled, "imagefs is stopping");
  const auto start = mono_now();
  TRY(const auto reader, image::LayerReader::open(store, workspace, digest));
  const auto& index = reader.index();
  TRY_VOID(check_space(dir, index.content_bytes()));
  const auto total = index.content_bytes();
  const auto tell = [&flight, total](uint64_t done) {
    const std::lock_guard lock(flight.mutex);
    flight.progress = {done, total};
  };
  tell(0);

  Unfinished temporary(dir / "tmp" / (digest.hex() + "." + random_id(8)));
  TRY_VOID(make_private_directory(temporary.path()));
  TRY_VOID(make_private_directory(temporary.path() / "tree"));
  TRY(const auto root, open_file(temporary.path() / "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const auto source = [&reader](std::span<const uint32_t> chunks,
                                const std::function<Result<>(uint32_t, std::string_view)>& sink) {
    return reader.read_chunks(chunks, sink);
  };
  TRY_VOID(write_tree(index, source, root.get(), {.threads = 0, .on_progress = tell, .stop = stopping.get_token()}));
  TRY_VOID(write_file_atomic(temporary.path() / "state", json{{"boot", boot}}.dump(), 0600));
  if (::rename(temporary.path().c_str(), layer(digest).c_str()) != 0) {
    return fail_errno("move into " + layer(digest).string(), errno);
  }
  temporary.keep();
  log_info("layer unpacked", {{"layer", digest.hex().substr(0, 12)},
                              {"entries", index.entry_count()},
                              {"bytes", total},
                              {"ms", std::chrono::duration_cast<milliseconds>(mono_now() - start).count()}});
  return {};
}

/// Off the path of whoever waits: the layer is usable at once, and survives a power cut from here on.
void UnpackBackend::State::make_durable(const fs::path& layer) {
  auto directory = open_file(layer, O_RDONLY | O_DIRECTORY);
  if (!directory || ::syncfs(directory->get()) != 0) {
    log_warning("a layer could not be written to disk for good", {{"layer", layer.filename().string()}});
    return;
  }
  if (auto written = write_file_atomic(layer / "state", R"({"durable":true})", 0600); !written) {
    log_warning("a layer could not be marked as durable", {{"error", written.error().message}});
  }
}

Result<UniqueFd> UnpackBackend::State::mount(const Digest& digest) const {
  const auto tree = layer(digest) / "tree";
  UniqueFd clone(::open_tree(AT_FDCWD, tree.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (!clone) return fail_errno("mount " + tree.string(), errno);
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(clone.get(), "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0) {
    return fail_errno("mount " + tree.string() + " read-only (Linux 5.12 or later is needed)", errno);
  }
  return clone;
}

UnpackBackend::UnpackBackend(std::unique_ptr<State> state) : state_(std::move(state)) {}

UnpackBackend::~UnpackBackend() {
  if (!state_) return;
  stop();
  std::vector<State::Task> joined;
  {
    const std::lock_guard lock(state_->mutex);
    joined.swap(state_->tasks);
  }
  joined.clear();  // joins, without the lock that a flight takes when it ends
}

Result<std::unique_ptr<UnpackBackend>> UnpackBackend::open(fs::path dir, std::shared_ptr<blob::ObjectStore> store) {
  if (::geteuid() != 0) return fail(ErrorCode::denied, "imagefs needs root: it makes files of every owner, and mounts");
  TRY_VOID(make_directories(dir, 0700));
  if (::chmod(dir.c_str(), 0700) != 0) return fail_errno("close " + dir.string() + " to others", errno);
  TRY(auto lock, open_file(dir / "lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::denied, "another imagefs works in " + dir.string());
  }
  auto state = std::make_unique<State>();
  state->dir_lock = std::move(lock);
  state->dir = std::move(dir);
  state->store = std::move(store);
  state->boot = boot_id();
  auto backend = std::make_unique<UnpackBackend>(std::move(state));
  TRY_VOID(backend->state_->clear_leftovers());
  return backend;
}

Result<UniqueFd> UnpackBackend::mount_layer(const LayerQuestion& question, const ProgressSink& progress) {
  TRY_VOID(Grants(state_->dir / "grants", state_->store).check(question.workspace, question.digest));
  if (!fs::exists(state_->layer(question.digest))) {
    const auto flight = state_->join_or_start(question.workspace, question.digest);
    TRY_VOID(state_->wait_for(*flight, progress));
  }
  return state_->mount(question.digest);
}

void UnpackBackend::stop() {
  state_->stopping.request_stop();
}

}  // namespace hearth::mount
