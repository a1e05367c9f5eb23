#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/process.hpp"
#include "base/trimmed.hpp"
#include "blob/object_store.hpp"
#include "build/build_jail.hpp"
#include "build/build_scripts.hpp"
#include "build/build_steps.hpp"
#include "image/layer_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCacheRecipe =
    "packages 2";  // another one when what is installed, or how, or the format of layers changes
constexpr std::chrono::minutes kInstallLimit{60};
constexpr int kIncludeDepth = 10;

/// What installing leaves in the upper directory that no image needs, or that is ours.
const std::vector<std::string> kLeftovers = {".hearth-tmp",
                                             "hearth",
                                             "tmp",
                                             "var/tmp",
                                             "run",
                                             "proc",
                                             "sys",
                                             "dev",
                                             "root",
                                             "var/cache",
                                             "var/lib/apt/lists",
                                             "var/log",
                                             "etc/hosts",
                                             "etc/resolv.conf",
                                             "etc/machine-id",
                                             "etc/hostname",
                                             "etc/.pwd.lock",
                                             "usr/sbin/policy-rc.d",
                                             "var/lib/dpkg/status-old",
                                             "var/lib/dpkg/lock",
                                             "var/lib/dpkg/lock-frontend",
                                             "var/lib/dpkg/triggers/Lock",
                                             "var/lib/dbus/machine-id"};

/// "-r base.txt", "--constraint=c.txt" → the file; empty for another line.
std::string_view included_file(std::string_view line) {
  for (std::string_view option : {"--requirement", "--constraint", "-r", "-c"}) {
    if (!line.starts_with(option)) continue;
    std::string_view rest = line.substr(option.size());
    if (rest.starts_with('=')) rest.remove_prefix(1);
    return trimmed(rest);
  }
  return {};
}

/// Whether the requirement is installed from a path, whose content the key does not know.
bool names_a_path(std::string_view line) {
  return line.starts_with("-e") || line.starts_with("--editable") || line.starts_with('.') || line.starts_with('/') ||
         line.contains("file:");
}

/// Content of an uploaded text file, from its parts.
Result<std::string> uploaded_text(const StepContext& context, const Manifest& files, std::string_view path) {
  const ManifestEntry* entry = find_entry(files, path);
  if (entry == nullptr || entry->type != EntryType::file) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} is named in hearth.toml but is not in the folder", path));
  }
  std::string text;
  for (const Digest& part : entry->parts) {
    TRY(const std::string bytes, read_part(*context.config.store, context.workspace, *entry, part));
    text += bytes;
  }
  return text;
}

/// Appends the file and all it includes; false when it needs more than can be known.
bool add_requirements(const StepContext& context, const Manifest& files, const std::string& path, std::string& key,
                      int depth = 0) {
  const auto text = uploaded_text(context, files, path);
  if (!text || depth > kIncludeDepth) return false;
  key += fmt::format("file {} {}\n", path, Digest::of(*text).hex());
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view raw = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), raw.size() + 1));
    const std::string_view line = trimmed(raw);
    if (names_a_path(line)) return false;
    const std::string_view file = included_file(line);
    if (file.empty()) continue;
    const fs::path included = (fs::path(path).parent_path() / file).lexically_normal();
    if (file.contains("://") || !add_requirements(context, files, included.string(), key, depth + 1)) return false;
  }
  return true;
}

Result<> write_lines(const fs::path& path, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return write_file_atomic(path, text);
}

/// The lists the install script reads.
Result<> write_lists(const PackageRequest& request, const fs::path& settings) {
  const catalog::ImageConfig& image = request.image;
  std::vector<std::string> arguments;
  if (!image.wheels.empty()) {
    arguments = {"--no-index", "--find-links", "/hearth/upload/" + image.wheels};
  }
  const size_t options = arguments.size();
  if (!image.python_packages.empty()) {
    TRY_VOID(write_lines(settings / "requirements.txt", image.python_packages));
    arguments.insert(arguments.end(), {"-r", fmt::format("{}/requirements.txt", kSettingsInside)});
  }
  if (!image.requirements.empty()) arguments.insert(arguments.end(), {"-r", "/hearth/upload/" + image.requirements});
  if (arguments.size() == options) arguments.clear();
  TRY_VOID(write_lines(settings / "system-packages", image.system_packages));
  TRY_VOID(write_lines(settings / "pip-arguments", arguments));
  TRY_VOID(write_file_atomic(settings / "policy-rc.d", "#!/bin/sh\nexit 101\n", 0755));  // no daemons start in a build
  return write_file_atomic(settings / "install.sh", kInstallScript);
}

/// Uploaded files that pip reads: everything but artifacts, since requirements may include one another.
Result<> write_upload(const StepContext& context, const PackageRequest& request, const fs::path& upload) {
  const catalog::ImageConfig& image = request.image;
  Manifest needed;
  for (const ManifestEntry& entry : request.files) {
    const bool wheel = !image.wheels.empty() &&
                       (entry.path + "/").starts_with(image.wheels + (image.wheels.ends_with('/') ? "" : "/"));
    const bool text = entry.path.ends_with(".txt") || entry.path.ends_with(".in") || entry.path.ends_with(".toml") ||
                      entry.path == image.requirements;
    if (entry.type == EntryType::directory || wheel || (!image.requirements.empty() && text)) needed.push_back(entry);
  }
  if (!image.wheels.empty() && entries_below(request.files, image.wheels).empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("image.wheels names {}, which is not in the folder", image.wheels));
  }
  if (!image.requirements.empty()) TRY_VOID(uploaded_text(context, request.files, image.requirements));
  return materialize(*context.config.store, context.workspace, needed, upload);
}

/// Where Debian keeps pip as a wheel: for images that bring none.
Result<fs::path> pip_wheel_folder() {
  fs::path folder = "/usr/share/python-wheels";
  if (fs::is_directory(folder)) return folder;
  return fail(ErrorCode::unavailable, "pip is missing on this machine: apt-get install python3-pip-whl");
}

Error explain(int code, const BuildLog& log, const PackageRequest& request) {
  const ErrorCode wrong = ErrorCode::invalid_argument;
  switch (code) {
    case kNoApt:
      return {wrong,
              fmt::format("image.system_packages needs a Debian-like base, and {} has no apt-get", request.image.base)};
    case kNoPython:
      return {wrong, fmt::format("the base {} has no python3 in its PATH: choose another, or add python3 to "
                                 "image.system_packages",
                                 request.image.base)};
    case kAptFailed:
      return {wrong, "the system packages could not be installed:\n" + log.tail()};
    case kPipFailed:
      return {wrong, "the Python packages could not be installed:\n" + log.tail()};
    default:
      return {ErrorCode::internal, fmt::format("installing packages ended with status {}:\n{}", code, log.tail())};
  }
}

Result<JailProgram> make_program(const StepContext& context, const PackageRequest& request,
                                 const std::vector<std::string>& local_folders, const fs::path& settings) {
  const fs::path upload = context.work / "upload";
  const fs::path cache = context.config.directory / "pip-cache" / context.workspace;  // of one tenant: wheels are code
  TRY_VOID(make_directories(cache, 0700));
  TRY_VOID(write_upload(context, request, upload));
  TRY(const fs::path pip, pip_wheel_folder());
  JailProgram program;
  TRY(program.layers, mount_layers(context, request.layers));
  program.scratch = context.work / "packages";
  program.argv = {"/bin/sh", fmt::format("{}/install.sh", kSettingsInside)};
  program.env = environment_list(request.env);
  program.cwd = "/hearth/upload";
  const bool offline = !request.image.wheels.empty() && request.image.system_packages.empty();
  program.network = offline ? container::Network::none : container::Network::host;  // indexes may be on loopback
  program.capabilities = container::build_capabilities();
  program.ids = context.config.ids;
  program.deadline = Deadline::after(mono_now(), kInstallLimit);
  program.binds.push_back({.target = std::string(kSettingsInside), .source = settings, .tree = {}});
  program.binds.push_back({.target = "/hearth/upload", .source = upload, .tree = {}});
  program.binds.push_back({.target = "/hearth/pip", .source = pip, .tree = {}});
  program.binds.push_back(
      {.target = "/hearth/pip-cache", .source = cache, .tree = {}, .access = container::Access::read_write});
  program.binds.push_back({.target = "/usr/sbin/policy-rc.d", .source = settings / "policy-rc.d", .tree = {}});
  for (const std::string& folder : local_folders) {
    program.binds.push_back({.target = folder, .source = folder, .tree = {}});
  }
  return program;
}

}  // namespace

bool wants_packages(const catalog::ImageConfig& image) {
  return !image.python_packages.empty() || !image.requirements.empty() || !image.system_packages.empty();
}

std::optional<std::string> package_cache_key(const StepContext& context, const PackageRequest& request) {
  const catalog::ImageConfig& image = request.image;
  std::string key = std::string(kCacheRecipe) + "\n";
  for (const catalog::LayerRef& layer : request.layers) key += "on " + layer.digest.hex() + "\n";
  for (const std::string& package : image.system_packages) key += "system " + package + "\n";
  for (const std::string& package : image.python_packages) {
    if (names_a_path(package)) return std::nullopt;
    key += "python " + package + "\n";
  }
  if (!image.requirements.empty() && !add_requirements(context, request.files, image.requirements, key)) {
    return std::nullopt;
  }
  if (!image.wheels.empty()) {
    for (const ManifestEntry& wheel : entries_below(request.files, image.wheels)) {
      key += "wheel " + wheel.path;
      for (const Digest& part : wheel.parts) key += " " + part.hex();
      key += "\n";
    }
  }
  return key;
}

Result<BuiltLayer> make_package_layer(const StepContext& context, const PackageRequest& request) {
  const fs::path settings = context.work / "settings";
  TRY(const HostSettings host, collect_host_settings(SettingsSources::of_this_process(), settings));
  TRY_VOID(write_lists(request, settings));
  TRY(JailProgram program, make_program(context, request, host.local_folders, settings));
  context.progress({.phase = "packages", .message = "installing packages"});
  BuildLog log("packages", host.mask, context.progress);
  TRY(const int code, run_in_jail(*context.config.runtime, std::move(program), log, context.stop));
  if (code != 0) return Unexpected(explain(code, log, request));

  image::WalkOptions walk;
  walk.marks = image::OverlayMarks::keep;
  walk.exclude = kLeftovers;
  image::BuildOptions options = layer_options(context);
  options.progress = now_and_then([&context](uint64_t bytes) {
    context.progress({.phase = "packages", .message = "storing packages", .done = bytes});
  });
  TRY(const image::LayerSummary summary,
      image::build_layer_from_directory(context.config.store, image::StoreScope::workspace(context.workspace),
                                        context.work / "packages" / "upper", walk, options));
  return BuiltLayer{{summary.digest, summary.content_bytes, catalog::LayerRole::packages}, summary.stale_pyc};
}

}  // namespace hearth::build
