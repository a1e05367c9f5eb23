// hearth doctor: what this host can do for Hearth, what it lacks, and what follows from that.
#include "app/default_data_dir.hpp"
#include "app/remote.hpp"
#include "app/subcommand.hpp"
#include "base/file.hpp"
#include "base/process.hpp"
#include "holder/descriptor_budget.hpp"
#include "mount/backend_probe.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>

namespace hearth::app {

namespace {

/// needed: Hearth does not run without it. better: it runs, less well.
enum class Weight { needed, better };

struct Finding {
  std::string what;
  Weight weight = Weight::needed;
  bool good = false;
  std::string detail;  // what was seen; when not good, what to do
};

struct Options {
  std::string data_dir;
  bool json = false;
};

Finding of(std::string what, Weight weight, const Result<>& tried, const std::string& when_good) {
  return {std::move(what), weight, tried.has_value(), tried ? when_good : tried.error().message};
}

Finding program(const std::string& name, Weight weight, const std::string& what_for) {
  const auto path = find_program(name);
  return {name, weight, path.has_value(), path.value_or("not found: " + what_for + " (apt-get install " + name + ")")};
}

/// The nearest folder that exists: where the data folder is or is going to be.
std::filesystem::path existing(std::filesystem::path path) {
  std::error_code error;
  path = std::filesystem::absolute(path, error);
  while (!std::filesystem::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path;
}

std::string file_system_of(const std::filesystem::path& path) {
  static const std::map<uint64_t, std::string> kNames{
      {0xEF53, "ext4"}, {0x58465342, "xfs"}, {0x9123683E, "btrfs"}, {0x01021994, "tmpfs"}, {0x794C7630, "overlay"}};
  struct statfs status{};
  if (::statfs(path.c_str(), &status) != 0) return "unknown";
  const auto found = kNames.find(static_cast<uint64_t>(status.f_type));
  return found == kNames.end() ? "another" : found->second;
}

Result<> can_mount(const char* type) {
  const UniqueFd context(::fsopen(type, FSOPEN_CLOEXEC));
  if (context) return {};
  return fail_errno(std::string("mount a new ") + type, errno);
}

Finding image_back_end(const Result<>& erofs, const Result<>& fuse) {
  const std::string chosen = erofs ? "erofs" : fuse ? "fuse" : "unpack";
  const std::string why = erofs  ? "the kernel fills layers on first read"
                          : fuse ? "layers are filled on first read through FUSE"
                                 : "layers are unpacked whole before a start";
  return {"images", Weight::better, erofs.has_value() || fuse.has_value(),
          "--image-backend auto takes " + chosen + ": " + why};
}

Finding descriptors() {
  constexpr uint64_t kWanted = 1000;  // layers
  const auto budget = holder::descriptor_budget(holder::reachable_descriptors());
  return {"open files", Weight::better, budget.layers >= kWanted,
          std::to_string(budget.limit) + " for the holder: enough for " + std::to_string(budget.layers) +
              " incomplete layers at once" +
              (budget.layers >= kWanted ? "" : "; raise the hard limit (LimitNOFILE=, limits.conf)")};
}

std::vector<Finding> examine(const Options& options) {
  utsname kernel{};
  ::uname(&kernel);
  const auto folder = existing(options.data_dir);
  const bool root = ::geteuid() == 0;
  std::vector<Finding> findings;
  findings.push_back({"root", Weight::needed, root, root ? "yes" : "no: 'hearth up' and this probe need it"});
  findings.push_back({"kernel", Weight::needed, true, std::string(kernel.sysname) + " " + kernel.release});
  findings.push_back({"data folder", Weight::needed, true, folder.string() + " on " + file_system_of(folder)});
  findings.push_back(of("overlayfs", Weight::needed, can_mount("overlay"), "yes"));
  const auto erofs = mount::probe_erofs(folder / ".hearth-doctor");
  std::error_code ignored;
  std::filesystem::remove(folder / ".hearth-doctor", ignored);
  const auto fuse = mount::probe_fuse();
  findings.push_back(of("erofs on demand", Weight::better, erofs, "a canary read raised its event and waited"));
  findings.push_back(of("fuse", Weight::better, fuse, "yes"));
  findings.push_back(image_back_end(erofs, fuse));
  findings.push_back(descriptors());
  const bool unified = std::filesystem::exists("/sys/fs/cgroup/cgroup.controllers", ignored);
  findings.push_back(
      {"cgroups", Weight::needed, std::filesystem::exists("/sys/fs/cgroup", ignored), unified ? "v2" : "v1"});
  findings.push_back(program("runc", Weight::needed, "it starts replicas"));
  findings.push_back(program("redis-server", Weight::needed, "'hearth up' runs a private one"));
  findings.push_back(program("mmdebstrap", Weight::better, "it makes the built-in base image"));
  findings.push_back(program("skopeo", Weight::better, "it fetches images from registries"));
  return findings;
}

int print(const std::vector<Finding>& findings, bool json) {
  bool fit = true;
  nlohmann::json checks = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows{{"", "CHECK", "FOUND"}};
  for (const Finding& finding : findings) {
    const bool missing = !finding.good && finding.weight == Weight::needed;
    fit = fit && !missing;
    rows.push_back({finding.good ? "ok" : missing ? "MISSING" : "no", finding.what, finding.detail});
    checks.push_back({{"check", finding.what},
                      {"ok", finding.good},
                      {"needed", finding.weight == Weight::needed},
                      {"found", finding.detail}});
  }
  if (json) {
    std::printf("%s\n", nlohmann::json{{"fit", fit}, {"checks", std::move(checks)}}.dump().c_str());
  } else {
    print_table(rows);
  }
  return fit ? kDone : kFailed;
}

void add_doctor(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  options->data_dir = default_data_dir();
  CLI::App* command =
      parent.add_subcommand("doctor", "Say what this host can do for Hearth, and why not more")->group(kServerCommands);
  command->add_option("--data-dir", options->data_dir, "Data folder, as of 'hearth up'")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON for programs on standard output");
  on_run(*command, [options] { return print(examine(*options), options->json); });
}

const Registration kRegistered("doctor", add_doctor);

}  // namespace

}  // namespace hearth::app
