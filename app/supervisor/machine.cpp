#include "supervisor/machine.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "blob/object_store.hpp"
#include "blob/store_check.hpp"
#include "catalog/catalog.hpp"
#include "client/endpoint.hpp"
#include "holder/client.hpp"
#include "supervisor/group_copy.hpp"
#include "supervisor/invoking_user.hpp"
#include "supervisor/listen_address.hpp"
#include "supervisor/run_state.hpp"
#include "supervisor/shutdown.hpp"
#include "supervisor/supervisor.hpp"
#include "supervisor/watched_process.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hearth::supervisor {

namespace {

constexpr const char* kListenerName = "router-listener";  // in the holder

struct Listener {
  UniqueFd fd;
  std::string url;
};

std::string store_of(const MachineOptions& options, const Layout& layout) {
  if (options.store.empty()) return layout.data / "store";
  if (options.store.find("://") != std::string::npos) return options.store;
  return std::filesystem::absolute(options.store).lexically_normal();
}

/// The listener of a router that runs although the supervisor that started it was killed: from the holder, or, when
/// that died too, from the router itself. Empty when nothing serves.
UniqueFd kept_listener(const Layout& layout, const RunState& earlier) {
  if (auto kept = holder::Client(layout.socket("holder")).get(kListenerName)) return std::move(*kept);
  const auto router = std::ranges::find(earlier.processes, "router", &ProcessState::role);
  if (router == earlier.processes.end()) return {};
  const auto process = WatchedProcess::find(router->pid, router->start_time);
  return process ? process->descriptor(kRouterListenerFd) : UniqueFd();
}

Result<Listener> open_listener(const Layout& layout, const ListenAddress& address, const RunState& earlier) {
  UniqueFd kept = kept_listener(layout, earlier);
  if (!kept) {
    TRY(auto fd, listen_on(address));
    TRY(auto url, url_of_listener(fd.get()));
    return Listener{std::move(fd), std::move(url)};
  }
  TRY(auto url, url_of_listener(kept.get()));
  if (address.port != 0 && !url.ends_with(":" + std::to_string(address.port))) {
    return fail(ErrorCode::already_exists,
                "this data folder is already served at " + url + "; to change the port, run 'hearth down' first");
  }
  return Listener{std::move(kept), std::move(url)};
}

/// What runs cannot be given another store.
Result<> check_store(const RunState& earlier, const std::string& store) {
  if (earlier.store == store || still_running(earlier).empty()) return {};
  return fail(ErrorCode::already_exists,
              "what runs here uses the store " + earlier.store + "; to change it, run 'hearth down' first");
}

/// A data folder is new until this file is there. It names the store that the folder belongs to.
std::filesystem::path marker_of(const Layout& layout) {
  return layout.data / "hearth.json";
}

/// Empty for a new folder.
std::string known_store(const Layout& layout) {
  const auto text = read_file(marker_of(layout), 64 * 1024);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  return json.is_object() ? json.value("store", "") : "";
}

/// A folder that held the store and is gone is most likely a disk that is not mounted: a new one would hide it.
Result<> check_store_is_there(const Layout& layout, const std::string& store) {
  std::error_code error;
  if (known_store(layout) != store || std::filesystem::exists(store, error)) return {};
  return fail(ErrorCode::unavailable, "the object store " + store + " is gone: mount its disk, or remove " +
                                          marker_of(layout).string() + " to begin with an empty one");
}

/// The first key of a new data folder. Existing folders keep theirs; a context file that was removed stays away.
Result<std::string> first_key(const Layout& layout, const std::string& store_url) {
  if (known_store(layout) == store_url) {
    const auto context = client::read_context(layout.context());
    return context ? context->key : std::string();
  }
  TRY(auto store, blob::open_store(store_url));
  if (store->is_remote()) TRY_VOID(blob::check_store(*store));
  catalog::Catalog catalog(std::move(store));
  TRY(const auto created, catalog.create_key("default", "first key of " + layout.data.string()));
  return created.secret;
}

Result<> write_contexts(const Layout& layout, const std::string& store, const client::Context& context) {
  if (context.key.empty()) return {};
  TRY_VOID(client::write_context(layout.context(), context));
  // For the commands this user types next. A read-only home is no reason not to serve.
  if (auto written = write_context_for_invoking_user(context); !written) {
    log_warning("no context for this user", {{"error", written.error().message}});
  }
  if (known_store(layout) == store) return {};
  const nlohmann::json marker = {{"format", 1}, {"created", to_iso8601(wall_now())}, {"store", store}};
  return write_file_atomic(marker_of(layout), marker.dump() + "\n", 0644);
}

}  // namespace

std::string Announcement::json() const {
  nlohmann::ordered_json json = {{"url", url}, {"key", nullptr}, {"data_dir", data_dir}, {"pid", pid}};
  if (!key.empty()) json["key"] = key;
  return json.dump();
}

Result<> check_machine(const MachineOptions& options) {
  if (::geteuid() != 0) {
    return fail(ErrorCode::denied, "'hearth up' makes mounts and containers, which needs root: run it with sudo");
  }
  for (const char* program : {"runc", "redis-server"}) {
    if (find_program(program)) continue;
    return fail(ErrorCode::not_found,
                std::string(program) + " is missing: install it with 'apt-get install " + program + "'");
  }
  TRY_VOID(ListenAddress::parse(options.listen));
  if (options.users.router == 0)
    return fail(ErrorCode::invalid_argument, "--router-uid 0: the router does not run as root");
  return {};
}

Result<UniqueFd> take_lock(const Layout& layout) {
  for (;;) {
    TRY(auto fd, open_file(layout.lock(), O_RDWR | O_CREAT, 0600));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return fail_errno("lock " + layout.lock().string(), errno);
      return fail(ErrorCode::already_exists, "another supervisor runs on " + layout.data.string());
    }
    // One that was stopping may have removed the file between our open and our lock.
    struct stat ours{};
    struct stat named{};
    if (::fstat(fd.get(), &ours) == 0 && ::stat(layout.lock().c_str(), &named) == 0 && ours.st_ino == named.st_ino) {
      return fd;
    }
  }
}

std::optional<Announcement> announcement_of_running(const Layout& layout) {
  const auto state = read_run_state(layout.state());
  if (!state || !state->ready) return std::nullopt;
  const auto supervisor = WatchedProcess::find(state->pid, state->start_time);
  if (!supervisor || supervisor->is_ending()) return std::nullopt;
  const auto context = client::read_context(layout.context());
  return Announcement{state->url, context ? context->key : "", layout.data, state->pid};
}

namespace {

bool runs(const RunState& state, std::string_view role) {
  return std::ranges::any_of(state.processes, [role](const ProcessState& process) {
    return process.role == role && WatchedProcess::find(process.pid, process.start_time);
  });
}

/// Whether reads may come to wait in a group.
bool may_mount_lazily(std::string_view image_backend) {
  return image_backend != "unpack" && image_backend != "fuse";
}

}  // namespace

Result<> run_machine(const MachineOptions& options, const MachineEvents& events) {
  const Layout layout = locate(options.data_dir);
  const std::string store = store_of(options, layout);
  const RunState earlier = read_run_state(layout.state()).value_or(RunState{});
  TRY_VOID(check_store(earlier, store));
  if (store.find("://") == std::string::npos) {
    TRY_VOID(check_store_is_there(layout, store));
    TRY_VOID(prepare_store(store, options.users));
  }
  TRY(const auto address, ListenAddress::parse(options.listen));
  TRY(const auto listener, open_listener(layout, address, earlier));
  TRY(const std::string key, first_key(layout, store));
  TRY_VOID(write_contexts(layout, store, {listener.url, key, layout.data}));

  SupervisorOptions supervised{.layout = layout, .url = listener.url, .store = store};
  supervised.roles = machine_roles({.layout = layout,
                                    .users = options.users,
                                    .store = store,
                                    .imagefs_args = options.imagefs_args,
                                    .redis_program = find_program("redis-server").value_or("redis-server"),
                                    .url = listener.url,
                                    .listener = listener.fd.get()});
  GroupCopy group(layout.socket("holder"));  // closed last: until then no reader is let through to a hole
  group.rescue(earlier);
  const bool nobody_has_one = group.fd() < 0 && !runs(earlier, "holder") && !runs(earlier, "imagefs");
  if (nobody_has_one && may_mount_lazily(options.image_backend)) group.make();
  for (Role& role : supervised.roles) {
    if (role.name == "holder") role.prepare = [&group](LaunchOptions& holder) { group.add_to(holder); };
  }
  supervised.on_tick = [&group] {
    if (group.fd() < 0) group.refresh();
  };
  supervised.on_role_ready = [&layout, &listener, &group](const std::string& role) {
    if (role == "holder" || role == "imagefs") group.refresh();
    if (role != "holder") return;
    // A copy outlives a killed supervisor: then no connection is refused until the next one comes.
    auto put = holder::Client(layout.socket("holder")).put(kListenerName, listener.fd.get());
    if (!put) log_warning("the holder did not take the listener", {{"error", put.error().message}});
  };
  supervised.on_ready = [&layout, &listener, &key, &events] {
    events.on_ready(Announcement{listener.url, key, layout.data, ::getpid()});
  };
  supervised.on_progress = events.on_progress;
  TRY(const auto supervisor, Supervisor::open(std::move(supervised)));
  return supervisor->run();
}

}  // namespace hearth::supervisor
