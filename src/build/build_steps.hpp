// The steps of a build, each a function from what it needs to a layer. Private to the folder; Builder puts them
// together.
#pragma once

#include "base/result.hpp"
#include "blob/intent.hpp"
#include "build/builder.hpp"
#include "build/host_settings.hpp"
#include "build/progress.hpp"
#include "catalog/catalog.hpp"
#include "image/chunk_catalogue.hpp"
#include "image/layer_builder.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace hearth::build {

/// What every step may use; references outlive the step.
struct StepContext {
  const BuilderConfig& config;
  const ProgressSink& progress;
  std::stop_token stop;
  std::filesystem::path work;  // of this build alone
  std::string workspace;
  std::shared_ptr<blob::Intent> intent;              // keeps what the build finds and makes
  std::shared_ptr<image::ChunkCatalogue> catalogue;  // of chunks that are stored already
};

/// A layer in the making of an image, and how many of its .pyc files are stale.
struct BuiltLayer {
  catalog::LayerRef layer;
  uint64_t stale_pyc = 0;
};

// --- kept_content.cpp ---

/// What every layer of a build is made with.
image::BuildOptions layer_options(const StepContext& context);
/// Whether a layer that an earlier build made is there to stay; then so are its packs.
Result<bool> keep_layer(const StepContext& context, const Digest& layer);
/// Sees to it that the uploaded parts stay until the build ends. not_found when some were collected: to be sent again.
Result<> keep_uploads(const StepContext& context, const Manifest& files);

// --- base_image.cpp ---

/// Which recipe made a base: another one is made anew.
std::string base_identity();
/// Runs mmdebstrap into work/base and stores the tree as a shared layer.
Result<catalog::ImageRecord> make_python_base(const StepContext& context);

// --- image_source.cpp ---

/// An image that someone named and that does not exist is an invalid_argument: not_found means uploads that are gone.
template <class Image>
Result<Image> existing(Result<Image> image) {
  if (!image && image.error().code == ErrorCode::not_found) image.error().code = ErrorCode::invalid_argument;
  return image;
}
/// Makes an upload the source: a layout is read as it lies in the store, an archive is put together in `work` first.
Result<> use_upload(const StepContext& context, const Manifest& files, image::ImportSource& source);
/// Imports an image into the workspace and finds its interpreter; named by the caller.
Result<catalog::ImageRecord> import_source(const StepContext& context, const image::ImportSource& source);
uint64_t stale_pyc_of(const catalog::ImageRecord& image);

// --- package_layer.cpp ---

struct PackageRequest {
  const catalog::ImageConfig& image;
  const Manifest& files;
  std::vector<catalog::LayerRef> layers;  // what to install on
  std::map<std::string, std::string> env;
};
/// Whether the configuration asks for any packages.
bool wants_packages(const catalog::ImageConfig& image);
/// What decides the layer; nullopt when it depends on more than can be known (a requirement that is a folder).
std::optional<std::string> package_cache_key(const StepContext& context, const PackageRequest& request);
Result<BuiltLayer> make_package_layer(const StepContext& context, const PackageRequest& request);

// --- code_layer.cpp ---

struct CodeRequest {
  const catalog::ModelConfig& config;
  const Manifest& files;
  std::vector<catalog::LayerRef> layers;  // what it will run on
  std::map<std::string, std::string> env;
  std::string python;
};
Result<std::vector<catalog::ArtifactMount>> make_artifacts(const StepContext& context, const CodeRequest& request);
/// The folder under /model, compiled, with placeholders for artifacts. Fails when an entry point does not exist.
Result<BuiltLayer> make_code_layer(const StepContext& context, const CodeRequest& request);

// --- layer_cache.cpp ---

/// ws/<w>/build-cache/<hex of key>.json → a layer that is still stored.
Result<std::optional<BuiltLayer>> find_cached(const StepContext& context, const std::string& key);
Result<> remember(const StepContext& context, const std::string& key, const BuiltLayer& built);

/// The layers as mounts, bottom to top.
Result<std::vector<UniqueFd>> mount_layers(const StepContext& context, const std::vector<catalog::LayerRef>& layers);
/// "KEY=value" for a container.
std::vector<std::string> environment_list(const std::map<std::string, std::string>& env);

}  // namespace hearth::build
