// Folder → image, on a node: base, packages, artifacts, code. Each step that runs code of others runs in a jail.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "build/progress.hpp"
#include "build/upload_manifest.hpp"
#include "catalog/image_record.hpp"
#include "catalog/model_config.hpp"
#include "catalog/version_record.hpp"
#include "container/container.hpp"
#include "image/import.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace hearth::build {

/// What a builder works with.
struct BuilderConfig {
  std::shared_ptr<blob::ObjectStore> store;
  /// A layer's root as a detached read-only mount, ids as in the image: what ImagefsClient::layer answers.
  std::function<Result<UniqueFd>(const std::string& workspace, const Digest& digest)> mount_layer;
  std::shared_ptr<container::ContainerRuntime> runtime;
  std::filesystem::path directory;  // DATA/node: build/ for work, pip-cache/, chunks/; on a disk, not tmpfs
  container::IdMap ids;             // of build containers alone
  std::string node_id;              // for people who look at intents
};

struct BuildRequest {
  std::string workspace;
  catalog::ModelConfig config;
  Manifest files;
};

struct BuildResult {
  catalog::ImageSpec image;
  uint64_t stale_pyc = 0;  // .pyc files Python would recompile at every start
  std::string intent;      // keeps the layers; to be ended once the version is written: blob::end_intent()
};

struct ImportResult {
  catalog::ImageRecord record;
  std::string intent;  // as above
};

struct ImportRequest {
  std::string workspace;
  std::string name;
  image::SourceKind kind = image::SourceKind::registry;
  std::string tag;              // oci_layout, docker_archive
  std::string reference;        // registry
  Manifest files;               // oci_layout: the layout directory; docker_archive: one file
  std::optional<Digest> known;  // docker_archive without files: of the config of an image that was imported before
};

/// Blocking; safe to use from several threads. Whatever fails or is stopped leaves no version, mount, container or
/// temporary folder; layers already stored stay for the next build. Errors carry the last lines of the log.
class Builder {
 public:
  /// Removes what a killed process left in its work folder.
  static Result<std::unique_ptr<Builder>> open(BuilderConfig config);
  ~Builder();

  Result<BuildResult> build(const BuildRequest& request, const ProgressSink& progress, std::stop_token stop = {});

  /// The built-in base "python": made once a store, whoever asks for it at the same time waits.
  Result<catalog::ImageRecord> ensure_base(const ProgressSink& progress, std::stop_token stop = {});

  /// Imports an image; whoever asked for it writes the record under the name (Catalog::set_image).
  Result<ImportResult> import_image(const ImportRequest& request, const ProgressSink& progress,
                                    std::stop_token stop = {});

 private:
  struct State;
  explicit Builder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::build
