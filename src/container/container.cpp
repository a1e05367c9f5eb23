#include "container/container.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "container/bundle.hpp"
#include "container/id_mapping.hpp"
#include "container/jail_mounts.hpp"
#include "container/network.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;

constexpr seconds kStartTimeout{60};
constexpr seconds kDeleteTimeout{20};
constexpr seconds kEmptyFor{3};

double ms_since(MonoTime start) {
  return std::chrono::duration<double, std::milli>(mono_now() - start).count();
}

/// Field 22 of /proc/PID/stat and the state; nullopt when there is no such process.
struct ProcessStat {
  char state;
  uint64_t start_time;
};

std::optional<ProcessStat> stat_of(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  const auto after_name = text->rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*text).substr(after_name + 1);
  ProcessStat stat{};
  for (int field = 3; field <= 22; ++field) {
    rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(' ')));
    const auto word = rest.substr(0, rest.find(' '));
    if (field == 3 && !word.empty()) stat.state = word[0];
    if (field == 22) std::from_chars(word.data(), word.data() + word.size(), stat.start_time);
    rest.remove_prefix(word.size());
  }
  return stat;
}

/// The last error line a runtime wrote to its --log (JSON lines).
std::string last_message(const fs::path& log) {
  const auto text = read_file(log).value_or("");
  std::string message;
  size_t at = 0;
  while (at < text.size()) {
    const auto end = std::min(text.find('\n', at), text.size());
    const auto line = nlohmann::json::parse(text.substr(at, end - at), nullptr, false);
    if (line.is_object() && line.value("level", "") == "error") message = line.value("msg", message);
    at = end + 1;
  }
  return message;
}

uint64_t open_files_max() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 1024;
}

Result<> check_kernel() {
  UniqueFd overlay(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!overlay) {
    if (errno == ENODEV) return fail(ErrorCode::unavailable, "this kernel has no overlayfs: modprobe overlay");
    if (errno == EPERM)
      return fail(ErrorCode::denied, "mounting is not allowed here: containers need root with CAP_SYS_ADMIN");
    return fail_errno("ask for overlayfs (Linux 5.19 or later is needed)", errno);
  }
  mount_attr nothing{};
  if (::mount_setattr(-1, "", AT_EMPTY_PATH, &nothing, sizeof nothing) != 0 && errno == ENOSYS) {
    return fail(ErrorCode::unavailable, "this kernel has no id-mapped mounts: Linux 5.19 or later is needed");
  }
  TRY_VOID(make_user_namespace({.host_base = 65536}));
  return {};
}

}  // namespace

struct ContainerRuntime::State {
  RuntimeConfig config;
  std::shared_ptr<Spawner> spawner;
  std::string program;  // absolute path of the runtime
  BundleContext::SwapLimit swap_limit;
  std::mutex mutex;  // guards what follows
  std::map<std::pair<uint32_t, uint32_t>, UserNamespace> user_namespaces;
  bool network_ready = false;

  fs::path directory(const std::string& id) const { return config.run_dir / "replicas" / id; }
  fs::path runtime_root() const { return config.run_dir / "runtime"; }
  std::string cgroup(const std::string& id) const { return config.cgroup_parent + "/" + id; }

  std::vector<std::string> command(const std::string& id, std::vector<std::string> rest) const {
    std::vector<std::string> argv = {program,        "--root", runtime_root(), "--log", directory(id) / "runtime.log",
                                     "--log-format", "json"};
    argv.insert(argv.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
    return argv;
  }
  SpawnRequest request(std::vector<std::string> argv, Deadline deadline) const {
    return {.argv = std::move(argv),
            .env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            .deadline = deadline};
  }

  Result<> prepare(ContainerSpec& spec, StartPhases& phases);
  Result<> prepare_network(const ContainerSpec& spec, BundleContext& context, std::vector<OwnFile>& files);
  Result<> ensure_bridge_once();
  Result<UserNamespace> user_namespace_of(const IdMap& ids);
  SpawnRequest run_request(const ContainerSpec& spec, std::vector<std::string> flags, Deadline deadline) const;
  Error explain(const std::string& id, int code) const;
};

Result<ContainerRuntime> ContainerRuntime::open(RuntimeConfig config, std::shared_ptr<Spawner> spawner) {
  if (::geteuid() != 0) return fail(ErrorCode::denied, "containers need root: start Hearth with sudo");
  auto state = std::make_shared<State>();
  const auto program = config.runtime.contains('/') ? std::optional(config.runtime) : find_program(config.runtime);
  if (!program || ::access(program->c_str(), X_OK) != 0) {
    return fail(ErrorCode::unavailable,
                "the container runtime \"" + config.runtime +
                    "\" is not installed: apt-get install runc, or name another with --runtime");
  }
  state->program = *program;
  TRY(const auto version, detect_cgroup_version());
  const bool swap = version == CgroupVersion::v2 ? fs::exists("/proc/swaps")
                                                 : fs::exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes");
  state->swap_limit = swap ? BundleContext::SwapLimit::available : BundleContext::SwapLimit::missing;
  TRY_VOID(check_kernel());
  for (const auto& directory : {config.run_dir, config.run_dir / "replicas"}) {
    TRY_VOID(make_directories(directory, 0711));
    // Root inside a jail is an ordinary user on this path while the runtime enters the root file system.
    for (auto part = directory; part != part.root_path(); part = part.parent_path()) {
      struct stat status{};
      if (::stat(part.c_str(), &status) == 0 && (status.st_mode & S_IXOTH) == 0) {
        return fail(ErrorCode::invalid_argument,
                    part.string() + " must be searchable by all: chmod o+x " + part.string());
      }
    }
  }
  TRY_VOID(make_directories(config.run_dir / "runtime", 0700));
  state->config = std::move(config);
  state->spawner = std::move(spawner);
  return ContainerRuntime(std::move(state));
}

fs::path ContainerRuntime::directory(const std::string& id) const {
  return state_->directory(id);
}

Result<UserNamespace> ContainerRuntime::State::user_namespace_of(const IdMap& ids) {
  const std::lock_guard lock(mutex);
  auto& kept = user_namespaces[{ids.host_base, ids.count}];
  if (kept) return kept;
  TRY(kept, make_user_namespace(ids));
  return kept;
}

/// Checking every rule at every start would cost more than the start.
Result<> ContainerRuntime::State::ensure_bridge_once() {
  const std::lock_guard lock(mutex);
  if (network_ready && fs::exists("/sys/class/net/hearth0")) return {};
  TRY_VOID(ensure_bridge());
  network_ready = true;
  return {};
}

Result<> ContainerRuntime::State::prepare_network(const ContainerSpec& spec, BundleContext& context,
                                                  std::vector<OwnFile>& files) {
  std::string hosts = "127.0.0.1\tlocalhost " + spec.hostname + "\n";
  if (spec.network == Network::nat) {
    TRY_VOID(ensure_bridge_once());
    TRY(auto lease, lease_network(directory(spec.id)));
    TRY(auto resolv_conf, jail_resolv_conf());
    const auto script = directory(spec.id) / "network.sh";
    TRY_VOID(write_file_atomic(script, lease.hook_script, 0600));
    context.network_hook = script;
    hosts = "127.0.0.1\tlocalhost\n" + lease.address + "\t" + spec.hostname + "\n";
    files.push_back({"/etc/resolv.conf", std::move(resolv_conf)});
  }
  if (spec.network == Network::host) {
    if (auto known = read_file("/etc/hosts")) hosts = std::move(*known);
    TRY(auto resolv_conf, read_file("/etc/resolv.conf"));
    files.push_back({"/etc/resolv.conf", std::move(resolv_conf)});
  }
  files.push_back({"/etc/hosts", std::move(hosts)});
  return {};
}

Result<> ContainerRuntime::State::prepare(ContainerSpec& spec, StartPhases& phases) {
  BundleContext context{.rootfs = directory(spec.id) / "rootfs",
                        .binds = {},
                        .cgroup = cgroup(spec.id),
                        .network_hook = {},
                        .open_files_max = open_files_max(),
                        .swap_limit = swap_limit};
  std::vector<OwnFile> files;
  const auto network_start = mono_now();
  TRY_VOID(prepare_network(spec, context, files));
  phases.network_ms = ms_since(network_start);
  const auto mount_start = mono_now();
  TRY(const auto user_namespace, user_namespace_of(spec.ids));
  TRY(context.binds, mount_jail(spec, files, directory(spec.id), user_namespace));
  phases.mount_ms = ms_since(mount_start);
  const auto bundle_start = mono_now();
  // Not written atomically: the directory is new, and a start that was cut short is destroyed as a whole.
  TRY(auto file, open_file(directory(spec.id) / "bundle" / "config.json", O_CREAT | O_EXCL | O_WRONLY, 0600));
  TRY_VOID(write_all(file.get(), make_config(spec, context), "config.json"));
  phases.bundle_ms = ms_since(bundle_start);
  return {};
}

SpawnRequest ContainerRuntime::State::run_request(const ContainerSpec& spec, std::vector<std::string> flags,
                                                  Deadline deadline) const {
  std::vector<std::string> rest = {"run", "--bundle", directory(spec.id) / "bundle"};
  rest.insert(rest.end(), std::make_move_iterator(flags.begin()), std::make_move_iterator(flags.end()));
  if (!spec.listen_fds.empty()) {
    rest.emplace_back("--preserve-fds");
    rest.push_back(std::to_string(spec.listen_fds.size()));
  }
  rest.push_back(spec.id);
  auto result = request(command(spec.id, std::move(rest)), deadline);
  for (size_t i = 0; i < spec.listen_fds.size(); ++i)
    result.fds.emplace_back(static_cast<int>(3 + i), spec.listen_fds[i]);
  if (spec.stdin_fd >= 0) result.fds.emplace_back(0, spec.stdin_fd);
  if (spec.stdout_fd >= 0) result.fds.emplace_back(1, spec.stdout_fd);
  if (spec.stderr_fd >= 0) result.fds.emplace_back(2, spec.stderr_fd);
  return result;
}

Error ContainerRuntime::State::explain(const std::string& id, int code) const {
  std::string message = last_message(directory(id) / "runtime.log");
  if (message.empty()) message = "exit status " + std::to_string(code);
  return {ErrorCode::unavailable, "start container " + id + " with " + program + ": " + message};
}

Result<Container> ContainerRuntime::start(ContainerSpec spec) {
  TRY_VOID(validate(spec));
  const auto directory = state_->directory(spec.id);
  TRY_VOID(make_jail_directories(directory));
  Container container{.id = spec.id, .cgroup = state_->cgroup(spec.id)};
  const auto started = [&]() -> Result<> {
    TRY_VOID(state_->prepare(spec, container.phases));
    const auto runtime_start = mono_now();
    const auto pid_file = directory / "pid";
    const auto request =
        state_->run_request(spec, {"--detach", "--pid-file", pid_file}, Deadline::after(runtime_start, kStartTimeout));
    TRY(const int code, state_->spawner->run(request));
    container.phases.runtime_ms = ms_since(runtime_start);
    if (code != 0) return Unexpected(state_->explain(spec.id, code));
    TRY(const auto text, read_file(pid_file));
    std::from_chars(text.data(), text.data() + text.size(), container.pid);
    if (const auto stat = stat_of(container.pid)) container.start_time = stat->start_time;
    // The jail has its own copies by now; the host keeps no mounts that a killed node could leave behind.
    return unmount_below(directory);
  }();
  if (started) return container;
  if (auto destroyed = destroy(spec.id); !destroyed) {
    log_warning("a failed start left something behind", {{"container", spec.id}, {"error", destroyed.error().message}});
  }
  return Unexpected(started.error());
}

Result<int> ContainerRuntime::run(ContainerSpec spec, const std::function<void(std::string_view)>& on_output,
                                  Deadline deadline) {
  TRY_VOID(validate(spec));
  TRY_VOID(make_jail_directories(state_->directory(spec.id)));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  spec.stdout_fd = write_end.get();
  spec.stderr_fd = write_end.get();
  std::thread reader([&read_end, &on_output] {
    char buffer[16384];
    for (;;) {
      const ssize_t got = ::read(read_end.get(), buffer, sizeof buffer);
      if (got == 0 || (got < 0 && errno != EINTR)) return;
      if (got > 0) on_output(std::string_view(buffer, static_cast<size_t>(got)));
    }
  });
  auto result = [&]() -> Result<int> {
    StartPhases phases;
    TRY_VOID(state_->prepare(spec, phases));
    return state_->spawner->run(state_->run_request(spec, {}, deadline));
  }();
  std::string complaint;
  if (result && *result != 0) complaint = last_message(state_->directory(spec.id) / "runtime.log");
  auto destroyed = destroy(spec.id);  // before the reader is joined: nothing inside may hold the pipe open
  write_end.reset();
  reader.join();
  if (!result) return result;
  if (!complaint.empty()) return fail(ErrorCode::unavailable, "container " + spec.id + ": " + complaint);
  if (!destroyed) return Unexpected(std::move(destroyed).error());
  return result;
}

Result<Cgroup> ContainerRuntime::cgroup(const Container& container) const {
  return Cgroup::open(container.cgroup);
}

Result<> ContainerRuntime::signal(const Container& container, int signal_number) {
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, container.pid, 0)));
  if (!handle || !is_running(container))
    return fail(ErrorCode::not_found, "container " + container.id + " is not running");
  if (::syscall(SYS_pidfd_send_signal, handle.get(), signal_number, nullptr, 0) == 0) return {};
  return fail_errno("signal container " + container.id, errno);
}

Result<> ContainerRuntime::destroy(const std::string& id) {
  if (id.empty() || id.contains('/') || id.starts_with('.'))
    return fail(ErrorCode::invalid_argument, "bad container id " + id);
  const auto directory = state_->directory(id);
  TRY(auto cgroup, Cgroup::open(state_->cgroup(id)));
  TRY_VOID(cgroup.kill_all());
  const auto empty_by = Deadline::after(mono_now(), kEmptyFor);
  while (cgroup.process_count() > 0 && !empty_by.passed(mono_now())) std::this_thread::sleep_for(milliseconds(1));
  if (fs::exists(state_->runtime_root() / id)) {
    std::error_code ignored;
    fs::create_directories(directory, ignored);  // where the runtime logs to
    auto request =
        state_->request(state_->command(id, {"delete", "--force", id}), Deadline::after(mono_now(), kDeleteTimeout));
    TRY(const int code, state_->spawner->run(request));
    if (code != 0 && fs::exists(state_->runtime_root() / id)) {
      return fail(ErrorCode::internal, "remove container " + id + ": " + last_message(directory / "runtime.log"));
    }
  }
  TRY_VOID(cgroup.remove());
  TRY_VOID(release_network(directory));
  return remove_jail_directories(directory);
}

Result<std::vector<std::string>> ContainerRuntime::list() const {
  std::set<std::string> ids;
  for (const auto& directory : {state_->config.run_dir / "replicas", state_->runtime_root()}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) ids.insert(entry.path().filename());
    if (error) return fail_errno("list " + directory.string(), error.value());
  }
  return std::vector<std::string>(ids.begin(), ids.end());
}

bool is_running(const Container& container) {
  if (container.pid <= 0) return false;
  const auto stat = stat_of(container.pid);
  return stat && stat->start_time == container.start_time && stat->state != 'Z' && stat->state != 'X';
}

}  // namespace hearth::container
