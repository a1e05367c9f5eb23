// Turns an OCI image (layout directory, `docker save` archive or registry reference) into one layer: its tars are
// merged while they stream by, nothing is unpacked.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_builder.hpp"
#include "image/store_scope.hpp"
#include "oci/layout_files.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

enum class SourceKind { oci_layout, docker_archive, registry };

/// Where an image comes from.
struct ImportSource {
  SourceKind kind = SourceKind::oci_layout;
  std::filesystem::path path;                     // layout directory or archive file
  std::shared_ptr<const oci::LayoutFiles> files;  // oci_layout: the layout itself, where it lies in no directory
  std::string tag;                                // which image of it; may be empty when there is only one
  std::string reference;                          // registry: "registry.example/library/python:3.11-slim"
  std::optional<Digest> known;      // docker_archive without a path: only an earlier import of this config will do
  std::filesystem::path auth_file;  // registry: credentials file for skopeo; empty = skopeo's own search
};

/// "oci:DIR[:TAG]", "docker-archive:FILE[:TAG]", "docker://REFERENCE".
Result<ImportSource> parse_import_source(std::string_view text);
/// The same text again, for records and messages.
std::string to_string(const ImportSource& source);

/// Limits against bombs. Beyond one the import is refused (exhausted).
struct ImportLimits {
  uint64_t entries = 4'000'000;                 // tar entries over all layers
  uint64_t unpacked_bytes = uint64_t{1} << 40;  // tar bytes over all layers after decompression
  uint64_t layers = 1024;
};

struct ImportProgress {
  std::string_view phase;    // "download", "layers", "index"
  uint64_t done = 0;         // bytes of compressed layers read
  uint64_t total = 0;        // 0 = unknown
  std::string_view message;  // one line of a tool's output, or what is being done
};

struct ImportOptions {
  ImportLimits limits;
  std::filesystem::path
      work_directory;  // room for a downloaded image or a compressed archive; removed afterwards; empty = the system's
  std::function<void(const ImportProgress&)> progress;
  std::stop_token stop;
  Deadline deadline;  // of the download
  unsigned workers = 0;
  /// As of BuildOptions. With an intent an image that was imported before is not read again.
  std::shared_ptr<blob::Intent> intent;
  std::shared_ptr<ChunkCatalogue> catalogue;
};

/// What is known about an imported image; the catalog stores it under the image's name.
struct ImageRecord {
  std::string name;  // set by whoever stores it
  LayerSummary layer;
  std::vector<std::string> env;  // "KEY=value"
  std::string user;              // as in the image's config: "", "1000", "app:app"
  std::string working_dir;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::string architecture;
  std::string source;  // to_string(ImportSource)
  Digest manifest;     // OCI manifest (or docker config) digest it was made from
  uint64_t source_layers = 0;
  std::vector<std::string> notes;  // what was tolerated: "layer 3: the archive lacks its end blocks"
};

/// JSON object of the record, as stored in ws/<w>/images/<name>/<g>.json, and back.
std::string to_json(const ImageRecord& record);
Result<ImageRecord> parse_image_record(std::string_view json);

/// Errors: not_found (no earlier import, where only that will do), invalid_argument (not an image, or one that is
/// refused, with what is there instead), corrupt (digest, size, archive), exhausted (limit, disk full), unavailable
/// (registry, store), cancelled. Whatever goes wrong, no layer is left behind.
Result<ImageRecord> import_image(const std::shared_ptr<blob::ObjectStore>& store, const StoreScope& scope,
                                 const ImportSource& source, const ImportOptions& options = {});

}  // namespace hearth::image
