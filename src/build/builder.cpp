#include "build/builder.hpp"

#include "base/log.hpp"
#include "blob/object_store.hpp"
#include "build/build_steps.hpp"
#include "build/keyed_lock.hpp"
#include "build/python_finder.hpp"
#include "build/work_folder.hpp"
#include "catalog/catalog.hpp"

#include <fmt/format.h>

#include <mutex>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPythonBase = "python";
constexpr int kBaseAttempts = 3;
constexpr std::chrono::hours kSourceFresh{24};  // how long a tag of a registry is taken to be what it was

/// Under which name an image that hearth.toml gives as a SOURCE is kept.
std::string name_of_source(const std::string& source) {
  return "source-" + Digest::of(source).hex().substr(0, 16);
}

}  // namespace

struct Builder::State {
  explicit State(BuilderConfig c) : config(std::move(c)), catalog(config.store) {}

  Result<WorkFolder> work() const { return WorkFolder::make(config.directory / "build"); }
  Result<StepContext> begin(const std::string& workspace, std::string_view what, const ProgressSink& progress,
                            std::stop_token stop) const;
  Result<catalog::ImageRecord> base(const StepContext& context, const BuildRequest& request);
  Result<catalog::ImageRecord> base_from_source(const StepContext& context, const BuildRequest& request);
  Result<catalog::ImageRecord> kept_base(const StepContext& context, const BuildRequest& request);
  Result<catalog::ImageRecord> python_base(const StepContext& context);
  Result<BuiltLayer> packages(const StepContext& context, const PackageRequest& request);
  Result<std::string> python_in(const StepContext& context, const catalog::ImageSpec& image);
  Result<BuildResult> build(const StepContext& context, const BuildRequest& request);

  BuilderConfig config;
  catalog::Catalog catalog;
  KeyedLock locks;
  std::shared_ptr<image::ChunkCatalogue> catalogue;
};

/// Everything a step needs but a work folder. From here on garbage collection leaves alone what the steps find and
/// make.
Result<StepContext> Builder::State::begin(const std::string& workspace, std::string_view what,
                                          const ProgressSink& progress, std::stop_token stop) const {
  TRY(auto intent, blob::Intent::begin(config.store, {.workspace = workspace,
                                                      .owner = fmt::format("{} on node {}", what, config.node_id)}));
  return StepContext{config, progress, std::move(stop), {}, workspace, std::move(intent), catalogue};
}

Builder::Builder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Builder::~Builder() = default;

Result<std::unique_ptr<Builder>> Builder::open(BuilderConfig config) {
  TRY_VOID(make_directories(config.directory, 0700));
  TRY(const auto containers, config.runtime->list());
  for (const std::string& id : containers) {
    if (id.starts_with("b-")) TRY_VOID(config.runtime->destroy(id));
  }
  std::error_code error;
  fs::remove_all(config.directory / "build", error);
  if (error) return fail_errno("clear " + (config.directory / "build").string(), error.value());
  for (const char* folder : {"build", "pip-cache"}) TRY_VOID(make_directories(config.directory / folder, 0700));
  TRY(auto catalogue, image::ChunkCatalogue::open(config.directory / "chunks"));
  auto state = std::make_unique<State>(std::move(config));
  state->catalogue = std::move(catalogue);
  return std::unique_ptr<Builder>(new Builder(std::move(state)));
}

Result<catalog::ImageRecord> Builder::State::python_base(const StepContext& context) {
  const auto held = locks.hold("base");
  const catalog::ImageKey key{catalog::ImageScope::shared, "", std::string(kPythonBase)};
  auto known = catalog.image(key);
  if (known && known->identity == base_identity()) return known;
  if (!known && known.error().code != ErrorCode::not_found) return known;
  TRY(catalog::ImageRecord made, make_python_base(context));
  TRY_VOID(context.intent->check());
  TRY_VOID(catalog.set_image(key, made));
  return made;
}

/// oci: and docker-archive: name files of the uploaded folder: the node's own files are nobody's to deploy.
Result<catalog::ImageRecord> Builder::State::base_from_source(const StepContext& context, const BuildRequest& request) {
  TRY(image::ImportSource source, image::parse_import_source(request.config.image.base));
  std::string identity = request.config.image.base;
  Manifest files;
  if (source.kind != image::SourceKind::registry) {
    files = entries_below(request.files, source.path.string());
    if (source.path.is_absolute() || files.empty()) {
      return fail(
          ErrorCode::invalid_argument,
          fmt::format("image.base = \"{}\" is not in the deployed folder: import it first with hearth image import "
                      "{} NAME, then write base = \"NAME\"",
                      request.config.image.base, request.config.image.base));
    }
    identity += " " + manifest_digest(files).hex();
  }
  const auto held = locks.hold("source " + identity);
  const catalog::ImageKey key{catalog::ImageScope::workspace, context.workspace, name_of_source(identity)};
  if (auto known = catalog.image(key)) {
    const bool fixed = source.kind != image::SourceKind::registry || source.reference.contains("@sha256:");
    if (fixed || wall_now() - known->created < kSourceFresh) return known;
  }
  if (source.kind != image::SourceKind::registry) TRY_VOID(use_upload(context, files, source));
  TRY(catalog::ImageRecord imported, import_source(context, source));
  imported.name = key.name;
  imported.source = request.config.image.base;
  TRY_VOID(context.intent->check());
  TRY_VOID(catalog.set_image(key, imported));
  return imported;
}

Result<catalog::ImageRecord> Builder::State::base(const StepContext& context, const BuildRequest& request) {
  const std::string& name = request.config.image.base;
  if (catalog::is_image_source(name)) return base_from_source(context, request);
  if (name != kPythonBase) return existing(catalog.find_image(context.workspace, name));
  auto own = catalog.image({catalog::ImageScope::workspace, context.workspace, name});
  if (own || own.error().code != ErrorCode::not_found) return own;
  return python_base(context);
}

/// A name may move on to another image while we read it, and its old layer be collected.
Result<catalog::ImageRecord> Builder::State::kept_base(const StepContext& context, const BuildRequest& request) {
  for (int attempt = 0; attempt < kBaseAttempts; ++attempt) {
    TRY(catalog::ImageRecord base, this->base(context, request));
    TRY(const bool stays, keep_layer(context, base.layer.digest));
    if (stays) return base;
  }
  return fail(ErrorCode::corrupt,
              fmt::format("the layer of image {} is not in the store: hearth store verify says what "
                          "else is missing",
                          request.config.image.base));
}

Result<BuiltLayer> Builder::State::packages(const StepContext& context, const PackageRequest& request) {
  const auto key = package_cache_key(context, request);
  if (!key) return make_package_layer(context, request);
  const auto held = locks.hold("packages " + context.workspace + *key);
  TRY(auto known, find_cached(context, *key));
  if (known) {
    context.progress({.phase = "packages", .message = "unchanged: taken from an earlier build", .done = 1, .total = 1});
    return *known;
  }
  TRY(const BuiltLayer made, make_package_layer(context, request));
  TRY_VOID(remember(context, *key, made));
  return made;
}

Result<std::string> Builder::State::python_in(const StepContext& context, const catalog::ImageSpec& image) {
  TRY(auto mounts, mount_layers(context, image.layers));
  TRY(const UniqueFd root, container::stack_layers(std::move(mounts)));
  std::string python = find_python(root.get(), image.env);
  if (!python.empty()) return python;
  return fail(
      ErrorCode::invalid_argument,
      "the image has no python3 in its PATH: choose another image.base, or add python3 to image.system_packages");
}

Result<BuildResult> Builder::State::build(const StepContext& context, const BuildRequest& request) {
  BuildResult result;
  catalog::ImageSpec& image = result.image;
  TRY_VOID(keep_uploads(context, request.files));
  TRY(const catalog::ImageRecord base, kept_base(context, request));
  image.layers.push_back(base.layer);
  image.layers.back().role = catalog::LayerRole::base;
  image.env = base.env;
  for (const auto& [name, value] : request.config.image.env) image.env[name] = value;
  result.stale_pyc = stale_pyc_of(base);

  if (wants_packages(request.config.image)) {
    TRY(const BuiltLayer packages,
        this->packages(context, {request.config.image, request.files, image.layers, image.env}));
    image.layers.push_back(packages.layer);
    result.stale_pyc += packages.stale_pyc;
  }
  TRY(image.python, python_in(context, image));
  const CodeRequest code{request.config, request.files, image.layers, image.env, image.python};
  TRY(image.artifacts, make_artifacts(context, code));
  TRY(const BuiltLayer layer, make_code_layer(context, code));
  image.layers.push_back(layer.layer);
  result.stale_pyc += layer.stale_pyc;
  if (context.stop.stop_requested()) return fail(ErrorCode::cancelled, "the build was cancelled");
  return result;
}

Result<BuildResult> Builder::build(const BuildRequest& request, const ProgressSink& progress, std::stop_token stop) {
  TRY_VOID(catalog::check_workspace_name(request.workspace));
  TRY(const WorkFolder work, state_->work());
  TRY(StepContext context, state_->begin(request.workspace, "build", progress, std::move(stop)));
  context.work = work.path();
  TRY(BuildResult result, state_->build(context, request));
  TRY_VOID(context.intent->hand_over());
  result.intent = context.intent->id();
  return result;
}

Result<catalog::ImageRecord> Builder::ensure_base(const ProgressSink& progress, std::stop_token stop) {
  TRY(const WorkFolder work, state_->work());
  TRY(StepContext context,
      state_->begin(std::string(catalog::kDefaultWorkspace), "Python base", progress, std::move(stop)));
  context.work = work.path();
  return state_->python_base(context);
}

Result<ImportResult> Builder::import_image(const ImportRequest& request, const ProgressSink& progress,
                                           std::stop_token stop) {
  TRY_VOID(catalog::check_workspace_name(request.workspace));
  TRY_VOID(catalog::check_image_name(request.name));
  TRY(const WorkFolder work, state_->work());
  TRY(StepContext context, state_->begin(request.workspace, "import", progress, std::move(stop)));
  context.work = work.path();
  image::ImportSource source{
      .kind = request.kind, .path = request.name, .tag = request.tag, .reference = request.reference};
  if (request.kind == image::SourceKind::docker_archive && request.known && request.files.empty()) {
    source.known = request.known;
  } else if (request.kind != image::SourceKind::registry) {
    if (request.files.empty()) return fail(ErrorCode::invalid_argument, "the image to import was not uploaded");
    TRY_VOID(keep_uploads(context, request.files));
    TRY_VOID(use_upload(context, request.files, source));
  }
  TRY(catalog::ImageRecord imported, import_source(context, source));
  imported.name = request.name;
  if (request.kind != image::SourceKind::registry) {
    const std::string_view scheme = request.kind == image::SourceKind::oci_layout ? "oci" : "docker-archive";
    imported.source = fmt::format("{}:{}", scheme, request.tag.empty() ? request.name : request.tag);
  }
  TRY_VOID(context.intent->hand_over());
  return ImportResult{std::move(imported), context.intent->id()};
}

}  // namespace hearth::build
