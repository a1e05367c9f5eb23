#include "node/container_launcher.hpp"

#include "base/file.hpp"
#include "base/log.hpp"

#include <fcntl.h>

#include <cctype>
#include <future>
#include <utility>
#include <vector>

namespace hearth::node {

namespace {

constexpr const char* kCodeFolder = "/model";
constexpr const char* kRunnerFolder = "/hearth/runner";
constexpr const char* kOutputFile = "output.log";  // what is written outside of any request
constexpr Duration kFreezeWithin = seconds(2);
constexpr Duration kRecordWithin = seconds(5);
constexpr Duration kTraceWithin = seconds(3);

double ms_since(MonoTime start) {
  return std::chrono::duration<double, std::milli>(mono_now() - start).count();
}

constexpr size_t kProfileMax = 128;  // of the imagefs protocol

/// Names what a start of this version reads, the same for the next version with the same handler.
std::string profile_of(const catalog::VersionRecord& version) {
  std::string key = version.branch.model + "." + version.config.handler;
  for (char& letter : key) {
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0 && letter != '.' && letter != '-') letter = '_';
  }
  return key.substr(0, kProfileMax);
}

std::vector<catalog::LayerRef> layers_of(const catalog::ImageSpec& image) {
  std::vector<catalog::LayerRef> layers = image.layers;
  for (const catalog::ArtifactMount& artifact : image.artifacts) layers.push_back(artifact.layer);
  return layers;
}

}  // namespace

ContainerLauncher::ContainerLauncher(ContainerLauncherConfig config, container::ContainerRuntime runtime,
                                     std::shared_ptr<holder::Client> holder)
    : config_(std::move(config)), runtime_(std::move(runtime)), holder_(std::move(holder)), imagefs_(config_.imagefs) {}

/// All layers at once: each is a connection of its own, and imagefs works on them in parallel.
Result<ContainerLauncher::Layers> ContainerLauncher::fetch(const LaunchRequest& request) const {
  const catalog::ImageSpec& image = request.version.image;
  std::vector<std::future<Result<UniqueFd>>> pending;
  for (const catalog::LayerRef& layer : layers_of(image)) {
    mount::LayerRequest wanted{.workspace = request.version.branch.workspace,
                               .digest = layer.digest,
                               .profile = profile_of(request.version),
                               .id_base = config_.id_base,
                               .deadline = request.deadline};
    pending.push_back(
        std::async(std::launch::async, [this, wanted = std::move(wanted)] { return imagefs_.layer(wanted); }));
  }
  std::vector<Result<UniqueFd>> answers;
  answers.reserve(pending.size());
  for (auto& future : pending) answers.push_back(future.get());  // all of them: nothing may run on behind us
  Layers layers;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) return fail_with_context("fetch the image", answers[i].error());
    (i < image.layers.size() ? layers.stack : layers.artifacts).push_back(std::move(*answers[i]));
  }
  return layers;
}

container::ContainerSpec ContainerLauncher::describe(const LaunchRequest& request, Layers layers, int output_fd) const {
  const catalog::ImageSpec& image = request.version.image;
  const catalog::ResourceConfig& resources = request.version.config.resources;
  container::ContainerSpec spec;
  spec.id = request.id;
  spec.hostname = request.version.branch.model;
  spec.argv = {image.python, std::string(kRunnerFolder) + "/main.py"};
  for (const auto& [name, value] : image.env) spec.env.push_back(name + "=" + value);
  spec.env.push_back("PYTHONDONTWRITEBYTECODE=1");
  spec.env.push_back("HEARTH_RUNNER=" + runner_settings(request, kCodeFolder));
  spec.cwd = kCodeFolder;
  spec.uid = image.uid;
  spec.gid = image.gid;
  spec.ids = {.host_base = config_.id_base};
  spec.limits.cpus = resources.cpu;
  spec.limits.memory_bytes = resources.memory_bytes;
  spec.limits.pids = resources.pids;
  spec.limits.tmp_bytes = resources.tmp_bytes;
  spec.network = resources.network ? container::Network::nat : container::Network::none;
  spec.layers = std::move(layers.stack);
  spec.binds.push_back({.target = kRunnerFolder, .source = config_.runner_dir, .tree = {}});
  for (size_t i = 0; i < image.artifacts.size(); ++i) {
    spec.binds.push_back(
        {.target = image.artifacts[i].to, .source = image.artifacts[i].from, .tree = std::move(layers.artifacts[i])});
  }
  spec.listen_fds = request.listen_fds;
  spec.stdout_fd = output_fd;
  spec.stderr_fd = output_fd;
  return spec;
}

Result<Launched> ContainerLauncher::launch(LaunchRequest request) {
  Launched launched;
  MonoTime began = mono_now();
  TRY(Layers layers, fetch(request));
  launched.phases_ms["fetch"] = ms_since(began);
  request.on_reached(policy::ReplicaState::starting);
  // A file, not a pipe to us: it outlives this process.
  TRY(const UniqueFd output, open_file(request.directory / kOutputFile, O_WRONLY | O_CREAT | O_APPEND, 0600));
  TRY(const container::Container made, runtime_.start(describe(request, std::move(layers), output.get())));
  launched.phases_ms["mount"] = made.phases.mount_ms;
  launched.phases_ms["container"] = made.phases.bundle_ms + made.phases.runtime_ms + made.phases.network_ms;
  launched.process = {.pid = made.pid, .start_time = made.start_time, .cgroup = made.cgroup};
  return launched;
}

void ContainerLauncher::start_is_over(const catalog::VersionRecord& version) {
  for (const catalog::LayerRef& layer : layers_of(version.image)) {
    const auto recorded = imagefs_.recorded({.workspace = version.branch.workspace,
                                             .digest = layer.digest,
                                             .profile = profile_of(version),
                                             .deadline = Deadline::after(mono_now(), kRecordWithin)});
    if (!recorded) log_info("a start is not recorded", {{"reason", recorded.error().message}});
  }
}

std::vector<LayerTrace> ContainerLauncher::traces(const catalog::VersionRecord& version) {
  std::vector<LayerTrace> traces;
  const Deadline deadline = Deadline::after(mono_now(), kTraceWithin);
  for (const catalog::LayerRef& layer : layers_of(version.image)) {
    traces.push_back({layer, imagefs_.trace({.workspace = version.branch.workspace,
                                             .digest = layer.digest,
                                             .profile = profile_of(version),
                                             .deadline = deadline})});
  }
  return traces;
}

Result<> ContainerLauncher::destroy(const std::string& id) {
  return runtime_.destroy(id);
}

Result<> ContainerLauncher::freeze(const ReplicaProcess& process) {
  TRY(container::Cgroup cgroup, container::Cgroup::open(process.cgroup));
  return cgroup.freeze(Deadline::after(mono_now(), kFreezeWithin));
}

Result<> ContainerLauncher::thaw(const ReplicaProcess& process) {
  TRY(container::Cgroup cgroup, container::Cgroup::open(process.cgroup));
  return cgroup.thaw();
}

uint64_t ContainerLauncher::oom_kills(const ReplicaProcess& process) {
  const Result<container::Cgroup> cgroup = container::Cgroup::open(process.cgroup);
  return cgroup ? cgroup->oom_kills().value_or(0) : 0;
}

std::optional<ProcessEnd> ContainerLauncher::how_it_ended(const std::string& id, const ReplicaProcess& process) {
  const std::string last_words = last_line_of(runtime_.directory(id) / kOutputFile);
  const Result<std::vector<holder::Exit>> exits = holder_->exits();
  if (!exits) {
    log_warning("the holder does not say how a replica ended", {{"reason", exits.error().message}});
    return std::nullopt;
  }
  for (auto exit = exits->rbegin(); exit != exits->rend(); ++exit) {
    if (exit->child != holder::Child{process.pid, process.start_time}) continue;
    return ProcessEnd{.code = exit->code, .signal = exit->signal, .last_words = last_words};
  }
  return ProcessEnd{.known = false, .last_words = last_words};
}

bool ContainerLauncher::is_running(const ReplicaProcess& process) {
  return container::is_running({.pid = process.pid, .start_time = process.start_time});
}

Result<std::vector<std::string>> ContainerLauncher::list() {
  return runtime_.list();
}

}  // namespace hearth::node
