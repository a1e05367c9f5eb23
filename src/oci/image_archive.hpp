// Images as they lie on disk: an OCI layout directory or a `docker save` archive. Both give a config and layer blobs,
// verified.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "oci/byte_source.hpp"
#include "oci/layout_files.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::oci {

/// The part of an image's config that Hearth keeps.
struct ImageConfig {
  std::string architecture;
  std::string os;
  std::vector<std::string> env;  // "KEY=value"
  std::string user;
  std::string working_dir;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::vector<Digest> diff_ids;  // SHA-256 of each layer's plain tar, bottom first
};

/// Parses an image config. corrupt when it is none; invalid_argument when its diff_ids are of an unknown algorithm.
Result<ImageConfig> parse_image_config(std::string_view json);

struct LayerBlob {
  std::optional<Digest> digest;  // of the stored bytes; a docker archive names only the plain ones
  uint64_t size = 0;             // stored bytes
  std::string name;              // for messages
};

/// An image that was selected; its manifest and config are verified, its layers are not until they are read.
class ImageArchive {
 public:
  virtual ~ImageArchive() = default;

  const Digest& manifest_digest() const { return manifest_digest_; }
  const ImageConfig& config() const { return config_; }
  const std::vector<LayerBlob>& layers() const { return layers_; }  // bottom first; as many as diff_ids
  /// The stored bytes of layer `i`, not verified: the reader compares size, digest and diff_id.
  virtual Result<std::unique_ptr<ByteSource>> open_layer(size_t i) const = 0;

 protected:
  /// Checks that there are as many layers as diff_ids.
  Result<> check_layer_count(std::string_view where) const;

  Digest manifest_digest_;
  ImageConfig config_;
  std::vector<LayerBlob> layers_;
};

/// Opens a layout directory. Empty tag: its only image, or the only one for this machine.
/// invalid_argument: no or several images match, other architectures only, artifacts, unknown layer kinds; the message
/// lists what is there. corrupt: digests, sizes, documents, or anything but regular files in place of blobs. not_found:
/// no such directory.
Result<std::unique_ptr<ImageArchive>> open_oci_layout(const std::filesystem::path& directory, std::string_view tag);

/// The same of a layout that lies elsewhere. Errors of reading its files are theirs.
Result<std::unique_ptr<ImageArchive>> open_oci_layout(std::shared_ptr<const LayoutFiles> files, std::string_view tag);

/// Opens the archive of `docker save`, plain or compressed (then it is first decompressed into a nameless file in
/// `work_directory`).
Result<std::unique_ptr<ImageArchive>> open_docker_archive(const std::filesystem::path& file, std::string_view tag,
                                                          const std::filesystem::path& work_directory);

/// What an archive of `docker save` will have as its manifest digest, by its headers and documents alone; nullopt when
/// it is compressed, since then all of it would have to be read. Errors as of open_docker_archive.
Result<std::optional<Digest>> docker_archive_digest(const std::filesystem::path& file, std::string_view tag);

/// The architecture of this machine as images name it: "amd64", "arm64".
std::string_view machine_architecture();

}  // namespace hearth::oci
