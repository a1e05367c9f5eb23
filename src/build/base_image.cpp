#include "base/file.hpp"
#include "base/process.hpp"
#include "build/build_jail.hpp"
#include "build/build_steps.hpp"
#include "build/python_finder.hpp"
#include "image/layer_builder.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;

constexpr int kRecipe = 2;  // another one when what is in the base changes, or the format of layers
constexpr std::array<std::string_view, 4> kPackages = {"python3", "ca-certificates", "libgomp1", "netbase"};
constexpr std::array<std::string_view, 5> kLeftOut = {"/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*",
                                                      "/usr/share/info/*", "/usr/share/lintian/*"};
constexpr std::chrono::minutes kLimit{45};

/// What mmdebstrap says at each step, and how far that is in per cent of making a base.
struct Step {
  std::string_view line;
  uint64_t percent;
};
constexpr std::array<Step, 7> kSteps = {{{"running apt-get update", 5},
                                         {"downloading packages", 15},
                                         {"extracting archives", 45},
                                         {"installing essential", 55},
                                         {"installing remaining", 65},
                                         {"cleaning package lists", 80},
                                         {"success", 85}}};

/// The settings as a container would see them, for programs on the host: other paths, nothing else.
Result<> rewrite_for_host(const fs::path& settings) {
  for (const auto& entry : fs::recursive_directory_iterator(settings)) {
    if (!entry.is_regular_file()) continue;
    TRY(std::string text, read_file(entry.path()));
    size_t changes = 0;
    for (size_t at = text.find(kSettingsInside); at != std::string::npos; at = text.find(kSettingsInside, at + 1)) {
      text.replace(at, kSettingsInside.size(), settings.string());
      ++changes;
    }
    if (changes > 0) TRY_VOID(write_file_atomic(entry.path(), text, 0600));
  }
  return {};
}

Result<std::vector<std::string>> source_files(const fs::path& settings) {
  std::vector<std::string> files;
  if (fs::exists(settings / "apt/sources.list")) files.push_back(settings / "apt/sources.list");
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(settings / "apt/sources.list.d", error)) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (!files.empty()) return files;
  return fail(ErrorCode::unavailable, "this machine has no apt sources to build the Python base from: see /etc/apt");
}

/// Credentials and settings of the host that mmdebstrap has written into the tree, and what differs for no reason. No
/// package sources stay: a build container is given those of its host.
Result<> clean_tree(const fs::path& root) {
  std::error_code error;
  for (const char* path : {"etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list", "var/lib/apt/lists",
                           "var/cache/apt", "var/log/dpkg.log", "var/log/alternatives.log", "var/log/apt",
                           "var/log/bootstrap.log", "etc/resolv.conf", "etc/hostname", "etc/machine-id",
                           "var/lib/dpkg/status-old", "var/cache/ldconfig/aux-cache", "var/lib/dbus/machine-id"}) {
    fs::remove_all(root / path, error);
    if (error) return fail_errno("clean the base: " + (root / path).string(), error.value());
  }
  for (const auto& entry : fs::directory_iterator(root / "etc/apt/sources.list.d", error))
    fs::remove(entry.path(), error);
  for (const char* folder : {"var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "etc/apt/sources.list.d"}) {
    TRY_VOID(make_directories(root / folder));
  }
  return {};
}

std::vector<std::string> command_line(const fs::path& settings, const fs::path& target, const std::string& codename,
                                      const std::vector<std::string>& sources) {
  std::vector<std::string> args = {"mmdebstrap",
                                   "--mode=root",
                                   "--format=directory",
                                   "--variant=apt",
                                   fmt::format("--include={}", fmt::join(kPackages, ",")),
                                   fmt::format("--aptopt={}", (settings / "apt-network.conf").string()),
                                   "--aptopt=APT::Sandbox::User \"root\""};
  for (std::string_view path : kLeftOut) args.push_back(fmt::format("--dpkgopt=path-exclude={}", path));
  args.insert(args.end(), {codename, target.string()});
  args.insert(args.end(), sources.begin(), sources.end());
  return args;
}

Result<> run_mmdebstrap(const StepContext& context, const fs::path& target, const std::string& codename) {
  if (!find_program("mmdebstrap")) {
    return fail(ErrorCode::unavailable,
                "the Python base is built with mmdebstrap, which is missing: apt-get install mmdebstrap");
  }
  const fs::path settings = context.work / "base-settings";
  TRY(const HostSettings host, collect_host_settings(SettingsSources::of_this_process(), settings));
  TRY_VOID(rewrite_for_host(settings));
  TRY(const auto sources, source_files(settings));

  BuildLog log("base", host.mask, context.progress);
  ProcessOptions options;
  options.args = command_line(settings, target, codename, sources);
  options.deadline = Deadline::after(mono_now(), kLimit);
  options.on_output = [&log, &context](std::string_view bytes) {
    log.write(bytes);
    for (const Step& step : kSteps) {
      if (!bytes.contains(step.line)) continue;
      context.progress({.phase = "base", .message = std::string(step.line), .done = step.percent, .total = 100});
    }
  };
  TRY(const ProcessExit exit, run_process(options));
  log.finish();
  if (exit.code == 0) return {};
  return fail(ErrorCode::unavailable, fmt::format("the Python base could not be built from Debian packages (mmdebstrap "
                                                  "status {}):\n{}",
                                                  exit.code, log.tail()));
}

}  // namespace

std::string base_identity() {
  return fmt::format("recipe {}", kRecipe);
}

Result<catalog::ImageRecord> make_python_base(const StepContext& context) {
  TRY(const std::string os_release, read_file("/etc/os-release"));
  const std::string release = release_of(os_release);
  const std::string codename = release.substr(release.find(' ') + 1);
  if (!release.starts_with("debian ") || codename.empty()) {
    return fail(ErrorCode::unavailable,
                fmt::format("the built-in base is made on Debian; this machine says \"{}\": import an "
                            "image and name it as image.base",
                            release));
  }
  const fs::path target = context.work / "base";
  context.progress(
      {.phase = "base", .message = "building the Python base from Debian packages", .done = 0, .total = 100});
  TRY_VOID(run_mmdebstrap(context, target, codename));
  if (context.stop.stop_requested()) return fail(ErrorCode::cancelled, "the build was cancelled");
  TRY_VOID(clean_tree(target));

  TRY(const UniqueFd root, open_file(target, O_PATH | O_DIRECTORY));
  const std::string python = find_python(root.get(), {});
  if (python.empty()) return fail(ErrorCode::internal, "the Python base came out without python3");
  image::BuildOptions options = layer_options(context);
  options.progress = now_and_then([&context](uint64_t bytes) {
    constexpr uint64_t kUsualBytes = uint64_t{170} << 20;
    context.progress({.phase = "base",
                      .message = "storing the base",
                      .done = 85 + std::min<uint64_t>(14, bytes * 15 / kUsualBytes),
                      .total = 100});
  });
  TRY(const image::LayerSummary summary,
      image::build_layer_from_directory(context.config.store, image::StoreScope::shared(), target, {}, options));
  context.progress({.phase = "base", .message = "done", .done = 100, .total = 100});

  image::ImageRecord details;
  details.name = "python";
  details.layer = summary;
  details.source = "Debian packages, " + release;
  return catalog::ImageRecord{.name = "python",
                              .layer = {summary.digest, summary.content_bytes, catalog::LayerRole::base},
                              .source = details.source,
                              .created = wall_now(),
                              .env = {},
                              .python = python,
                              .identity = base_identity(),
                              .details = image::to_json(details)};
}

}  // namespace hearth::build
