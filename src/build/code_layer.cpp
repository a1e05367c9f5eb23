#include "base/file.hpp"
#include "build/build_jail.hpp"
#include "build/build_scripts.hpp"
#include "build/build_steps.hpp"
#include "image/layer_builder.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kCheckLimit{10};

std::string without_slash(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  return path;
}

bool lies_at_or_below(std::string_view path, std::string_view folder) {
  return path == folder || (path.starts_with(folder) && path[folder.size()] == '/');
}

/// The uploaded folder without what is stored or used elsewhere: artifacts, wheels, left-over bytecode.
Manifest code_files(const CodeRequest& request) {
  std::vector<std::string> elsewhere;
  for (const auto& [to, from] : request.config.artifacts) {
    elsewhere.push_back(without_slash(from));
    elsewhere.push_back(to);
  }
  if (!request.config.image.wheels.empty()) elsewhere.push_back(without_slash(request.config.image.wheels));
  Manifest files;
  for (const ManifestEntry& entry : request.files) {
    const bool out =
        std::ranges::any_of(elsewhere, [&entry](const auto& path) { return lies_at_or_below(entry.path, path); });
    const bool bytecode = ("/" + entry.path + "/").contains("/__pycache__/");
    if (!out && !bytecode) files.push_back(entry);
  }
  return files;
}

/// An empty file or folder at each artifact's place, for the mount to cover.
Result<> make_placeholders(const CodeRequest& request, const fs::path& code) {
  for (const auto& [to, from] : request.config.artifacts) {
    const ManifestEntry* entry = find_entry(request.files, from);
    const bool folder = entry == nullptr || entry->type == EntryType::directory;
    const fs::path place = code / to;
    TRY_VOID(make_directories(folder ? place : place.parent_path()));
    if (!folder) TRY_VOID(write_file_atomic(place, ""));
  }
  return {};
}

/// Everything gets the time of its upload, and what we have made one fixed time, so that equal folders make equal
/// layers.
Result<> settle_times(const Manifest& files, const fs::path& root, const fs::path& code) {
  std::vector<std::pair<fs::path, int64_t>> times = {{root, 0}, {code, 0}};
  for (const auto& entry : fs::recursive_directory_iterator(code)) {
    const ManifestEntry* uploaded = find_entry(files, entry.path().lexically_relative(code).string());
    times.emplace_back(entry.path(), uploaded != nullptr ? uploaded->mtime_ns : 0);
  }
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  for (const auto& [path, ns] : times) {
    const timespec time{.tv_sec = ns / kNsPerSecond, .tv_nsec = ns % kNsPerSecond};
    const timespec both[2] = {time, time};
    if (::utimensat(AT_FDCWD, path.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno("set the time of " + path.string(), errno);
    }
  }
  return {};
}

/// Checks the entry points and compiles, in a jail without network: parsing hostile source is no work for the node.
Result<> check_and_compile(const StepContext& context, const CodeRequest& request, const fs::path& code) {
  const fs::path script = context.work / "check.py";
  TRY_VOID(write_file_atomic(script, kCheckScript));
  JailProgram program;
  TRY(program.layers, mount_layers(context, request.layers));
  program.scratch = context.work / "check";
  program.argv = {request.python, "/hearth/check.py", "handler=" + request.config.handler};
  if (!request.config.setup.empty()) program.argv.push_back("setup=" + request.config.setup);
  if (!request.config.ready.empty()) program.argv.push_back("ready=" + request.config.ready);
  program.env = environment_list(request.env);
  program.ids = context.config.ids;
  program.deadline = Deadline::after(mono_now(), kCheckLimit);
  program.binds.push_back({.target = "/hearth/check.py", .source = script, .tree = {}});
  program.binds.push_back({.target = "/model", .source = code, .tree = {}, .access = container::Access::read_write});
  const SecretMask nothing;
  BuildLog log("code", nothing, context.progress);
  TRY(const int status, run_in_jail(*context.config.runtime, std::move(program), log, context.stop));
  if (status == 0) return {};
  if (status == kBadHandler || status == kOldPython) return fail(ErrorCode::invalid_argument, log.tail());
  return fail(ErrorCode::invalid_argument,
              fmt::format("Python of the image cannot be used ({} ended with status {}):\n{}", request.python, status,
                          log.tail()));
}

Result<BuiltLayer> store_artifact(const StepContext& context, const Manifest& content, const ManifestEntry* file) {
  const fs::path folder = context.work / "artifact";
  uint64_t total = 0;
  for (const ManifestEntry& entry : content) total += entry.size;
  MaterializeOptions reading;
  reading.progress = now_and_then([&context, total](uint64_t done) {
    context.progress({.phase = "artifacts", .message = "reading artifacts", .done = done, .total = total});
  });
  TRY_VOID(materialize(*context.config.store, context.workspace, content, folder, reading));
  const auto scope = image::StoreScope::workspace(context.workspace);
  image::BuildOptions options = layer_options(context);
  options.progress = now_and_then([&context, total](uint64_t done) {
    context.progress({.phase = "artifacts", .message = "storing artifacts", .done = done, .total = total});
  });
  auto summary = file != nullptr
                     ? image::build_layer_from_file(context.config.store, scope, folder / content.front().path,
                                                    content.front().path, options)
                     : image::build_layer_from_directory(context.config.store, scope, folder, {}, options);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (!summary) return Unexpected(std::move(summary).error());
  return BuiltLayer{{summary->digest, summary->content_bytes, catalog::LayerRole::artifact}, 0};
}

}  // namespace

Result<std::vector<catalog::ArtifactMount>> make_artifacts(const StepContext& context, const CodeRequest& request) {
  std::vector<catalog::ArtifactMount> mounts;
  for (const auto& [to, from] : request.config.artifacts) {
    const ManifestEntry* entry = find_entry(request.files, from);
    const Manifest content = entries_below(request.files, from);
    if (entry == nullptr && content.empty()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("artifacts.\"{}\" names {}, which is not in the folder", to, from));
    }
    if (entry != nullptr && entry->type == EntryType::symlink) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("artifacts.\"{}\" names {}, a symlink: name the file itself", to, from));
    }
    const bool file = entry != nullptr && entry->type == EntryType::file;
    const std::string key = "artifact 2 " + manifest_digest(content).hex();
    TRY(auto built, find_cached(context, key));
    if (!built) {
      TRY(built, store_artifact(context, content, file ? entry : nullptr));
      TRY_VOID(remember(context, key, *built));
    }
    mounts.push_back({built->layer, file ? content.front().path : "", "/model/" + to});
  }
  return mounts;
}

Result<BuiltLayer> make_code_layer(const StepContext& context, const CodeRequest& request) {
  context.progress({.phase = "code", .message = "checking and compiling the code"});
  const fs::path root = context.work / "code";
  const fs::path code = root / "model";
  const Manifest files = code_files(request);
  TRY_VOID(materialize(*context.config.store, context.workspace, files, code));
  TRY_VOID(make_placeholders(request, code));
  TRY_VOID(check_and_compile(context, request, code));
  TRY_VOID(settle_times(files, root, code));
  TRY(const image::LayerSummary summary,
      image::build_layer_from_directory(context.config.store, image::StoreScope::workspace(context.workspace), root, {},
                                        layer_options(context)));
  return BuiltLayer{{summary.digest, summary.content_bytes, catalog::LayerRole::code}, summary.stale_pyc};
}

}  // namespace hearth::build
