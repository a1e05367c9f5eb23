#include "container/bundle.hpp"

#include "container/seccomp_profile.hpp"

#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace hearth::container {

namespace {

using nlohmann::json;

constexpr uint64_t kCpuPeriodUs = 100000;
constexpr uint64_t kCpuQuotaMinUs = 1000;  // the kernel's own minimum
constexpr uint64_t kCpuSharesPerCpu = 1024;
constexpr std::string_view kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Tmpfs {
  std::string target;
  std::string mode;
  uint64_t size_bytes;
  bool own;  // owned by the container's user
};

json mount_entry(std::string_view target, std::string_view type, std::string_view source, json options) {
  return {{"destination", target}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

json tmpfs_entry(const Tmpfs& tmpfs, const ContainerSpec& spec) {
  json options = {"nosuid", "nodev", "mode=" + tmpfs.mode, "size=" + std::to_string(tmpfs.size_bytes)};
  if (tmpfs.own) {
    options.push_back("uid=" + std::to_string(spec.uid));
    options.push_back("gid=" + std::to_string(spec.gid));
  }
  return mount_entry(tmpfs.target, "tmpfs", "tmpfs", std::move(options));
}

json mounts(const ContainerSpec& spec, const BundleContext& context) {
  json list = json::array();
  list.push_back(mount_entry("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  list.push_back(mount_entry("/dev", "tmpfs", "tmpfs", {"nosuid", "noexec", "strictatime", "mode=755", "size=64k"}));
  list.push_back(mount_entry("/dev/pts", "devpts", "devpts",
                             {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  // sysfs belongs to a network namespace: where the host's is used, it cannot be mounted, and is not missed.
  if (spec.network != Network::host) {
    list.push_back(mount_entry("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  }
  list.push_back(tmpfs_entry({"/dev/shm", "1777", spec.limits.shm_bytes, false}, spec));
  list.push_back(tmpfs_entry({"/tmp", "1777", spec.limits.tmp_bytes, false}, spec));
  list.push_back(tmpfs_entry({"/var/tmp", "1777", spec.limits.tmp_bytes, false}, spec));
  list.push_back(tmpfs_entry({"/run", "755", spec.limits.tmp_bytes, true}, spec));
  if (spec.home != "/") list.push_back(tmpfs_entry({spec.home, "700", spec.limits.tmp_bytes, true}, spec));
  for (const auto& bind : context.binds) {
    const char* access = bind.access == Access::read_only ? "ro" : "rw";
    list.push_back(mount_entry(bind.target, "bind", bind.source.string(), {"rbind", access, "nosuid", "nodev"}));
  }
  return list;
}

json environment(const ContainerSpec& spec) {
  json list = spec.env;
  const auto has = [&spec](std::string_view key) {
    return std::ranges::any_of(spec.env, [key](const auto& entry) { return std::string_view(entry).starts_with(key); });
  };
  if (!has("PATH=")) list.push_back(kPath);
  if (!has("HOME=")) list.push_back("HOME=" + spec.home);
  return list;
}

json capabilities(const Capabilities& names) {
  return {{"bounding", names},
          {"effective", names},
          {"permitted", names},
          {"inheritable", json::array()},
          {"ambient", json::array()}};
}

json rlimit(std::string_view type, uint64_t value) {
  return {{"type", type}, {"soft", value}, {"hard", value}};
}

json process(const ContainerSpec& spec, const BundleContext& context) {
  return {
      {"terminal", false},
      {"user", {{"uid", spec.uid}, {"gid", spec.gid}, {"umask", 022}}},
      {"args", spec.argv},
      {"env", environment(spec)},
      {"cwd", spec.cwd},
      {"capabilities", capabilities(spec.capabilities)},
      {"rlimits",
       {rlimit("RLIMIT_NOFILE", std::min(spec.limits.open_files, context.open_files_max)), rlimit("RLIMIT_CORE", 0)}},
      {"noNewPrivileges", true}};
}

json resources(const ContainerSpec& spec, const BundleContext& context) {
  const auto& limits = spec.limits;
  const auto quota = static_cast<uint64_t>(std::llround(limits.cpus * static_cast<double>(kCpuPeriodUs)));
  const auto shares = static_cast<uint64_t>(std::llround(limits.cpus * static_cast<double>(kCpuSharesPerCpu)));
  json memory = {{"limit", limits.memory_bytes}};
  if (context.swap_limit == BundleContext::SwapLimit::available) memory["swap"] = limits.memory_bytes;
  return {{"cpu",
           {{"quota", std::max(quota, kCpuQuotaMinUs)},
            {"period", kCpuPeriodUs},
            {"shares", std::max(shares, uint64_t{2})}}},
          {"memory", std::move(memory)},
          {"pids", {{"limit", limits.pids}}},
          {"devices", {{{"allow", false}, {"access", "rwm"}}}}};
}

json id_mapping(const IdMap& ids) {
  return {{{"containerID", 0}, {"hostID", ids.host_base}, {"size", ids.count}}};
}

json linux_part(const ContainerSpec& spec, const BundleContext& context) {
  json namespaces = json::array();
  for (const char* type : {"user", "pid", "ipc", "uts", "mount", "cgroup"}) namespaces.push_back({{"type", type}});
  if (spec.network != Network::host) namespaces.push_back({{"type", "network"}});
  return {{"uidMappings", id_mapping(spec.ids)},
          {"gidMappings", id_mapping(spec.ids)},
          {"namespaces", std::move(namespaces)},
          {"cgroupsPath", context.cgroup},
          {"resources", resources(spec, context)},
          {"seccomp", seccomp_profile(spec.capabilities.empty() ? SeccompFor::replica : SeccompFor::build)},
          {"maskedPaths",
           {"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
            "/sys/firmware", "/sys/fs/cgroup"}},
          {"readonlyPaths", {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}}};
}

bool clean_absolute(const std::string& path) {
  if (!path.starts_with('/') || path.contains('\0')) return false;
  return std::ranges::none_of(std::filesystem::path(path),
                              [](const auto& part) { return part == ".." || part == "."; });
}

}  // namespace

Capabilities build_capabilities() {
  return {"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FOWNER",  "CAP_FSETID",    "CAP_KILL",
          "CAP_SETGID", "CAP_SETUID",       "CAP_SETFCAP", "CAP_SYS_CHROOT"};
}

Result<> validate(const ContainerSpec& spec) {
  const auto refuse = [&spec](std::string_view why) {
    return fail(ErrorCode::invalid_argument, "container \"" + spec.id + "\": " + std::string(why));
  };
  const bool id_fits = !spec.id.empty() && spec.id.size() <= 64 &&
                       std::ranges::all_of(spec.id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
  if (!id_fits || spec.id.front() == '-') return refuse("an id is 1 to 64 letters, digits and '-'");
  if (spec.argv.empty() || spec.argv[0].empty()) return refuse("no program to run");
  if (spec.ids.host_base < 65536 || spec.ids.count < 65536)
    return refuse("the id range must hold 65,536 ids and lie above 65,535");
  if (uint64_t{spec.ids.host_base} + spec.ids.count > 0xfffffffeULL)
    return refuse("the id range does not fit into 32 bits");
  if (spec.uid >= spec.ids.count || spec.gid >= spec.ids.count) return refuse("user or group outside the id range");
  if (!(spec.limits.cpus > 0) || spec.limits.memory_bytes == 0 || spec.limits.pids == 0)
    return refuse("a limit is zero");
  if (!clean_absolute(spec.home) || !clean_absolute(spec.cwd))
    return refuse("home and cwd must be absolute, without \"..\"");
  if (spec.network == Network::host && !spec.writable) return refuse("only a build may use the host's network");
  for (const auto& bind : spec.binds) {
    if (bind.access == Access::read_write && (!spec.writable || bind.tree))
      return refuse("only a build may write to the host folder bound at " + bind.target);
    if (!clean_absolute(bind.target) || bind.target == "/") return refuse("bad mount target " + bind.target);
  }
  return {};
}

std::vector<MountPoint> mount_points(const ContainerSpec& spec) {
  std::vector<MountPoint> points = {{"/proc"}, {"/dev"}, {"/sys"}, {"/tmp", 01777}, {"/var/tmp", 01777}, {"/run"}};
  if (spec.home != "/") points.push_back({spec.home, 0700});
  return points;
}

std::string make_config(const ContainerSpec& spec, const BundleContext& context) {
  json document = {{"ociVersion", "1.0.2"},
                   {"hostname", spec.hostname},
                   {"root", {{"path", context.rootfs.string()}, {"readonly", !spec.writable.has_value()}}},
                   {"process", process(spec, context)},
                   {"mounts", mounts(spec, context)},
                   {"linux", linux_part(spec, context)}};
  if (!context.network_hook.empty()) {
    // createRuntime would be the newer name; this one every runtime knows.
    document["hooks"]["prestart"] = {{{"path", "/bin/sh"}, {"args", {"sh", context.network_hook.string()}}}};
  }
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace hearth::container
