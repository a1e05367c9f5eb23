// open_oci_layout: index → (nested index →) manifest → config and layers, each blob checked against the digest and size
// it was named by.
#include "oci/file_metadata.hpp"
#include "oci/image_archive.hpp"
#include "oci/json_document.hpp"

#include <algorithm>
#include <array>

namespace hearth::oci {

namespace {

constexpr uint64_t kMaxDocumentBytes = 16 * 1024 * 1024;
constexpr size_t kMaxListed = 20;
constexpr int kMaxIndexDepth = 4;
constexpr const char* kTagKey = "org.opencontainers.image.ref.name";

constexpr std::array<std::string_view, 2> kIndexTypes{"application/vnd.oci.image.index.v1+json",
                                                      "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::array<std::string_view, 2> kManifestTypes{"application/vnd.oci.image.manifest.v1+json",
                                                         "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::array<std::string_view, 2> kConfigTypes{"application/vnd.oci.image.config.v1+json",
                                                       "application/vnd.docker.container.image.v1+json"};
// What the bytes are is found out by looking at them; the type only says that it is a layer at all.
constexpr std::array<std::string_view, 10> kLayerTypes{"application/vnd.oci.image.layer.v1.tar",
                                                       "application/vnd.oci.image.layer.v1.tar+gzip",
                                                       "application/vnd.oci.image.layer.v1.tar+zstd",
                                                       "application/vnd.oci.image.layer.nondistributable.v1.tar",
                                                       "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                                                       "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                                                       "application/vnd.docker.image.rootfs.diff.tar",
                                                       "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                                       "application/vnd.docker.image.rootfs.diff.tar.zstd",
                                                       "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"};

bool is_one_of(std::string_view type, auto& list) {
  return std::ranges::find(list, type) != std::end(list);
}

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::string tag;
  std::string platform;  // "linux/amd64", empty when not said
  bool attestation = false;
};

Result<Descriptor> parse_descriptor(const Json& json, std::string_view what) {
  Descriptor descriptor;
  descriptor.media_type = text_or_empty(json, "mediaType");
  const std::string digest = text_or_empty(json, "digest");
  if (!digest.starts_with("sha256:")) {
    return fail(digest.empty() ? ErrorCode::corrupt : ErrorCode::invalid_argument,
                std::string(what) + " names '" + printable(digest) + "'; only sha256 digests are known");
  }
  TRY(descriptor.digest, Digest::parse(digest));
  const Json& size = child_or_null(json, "size");
  if (!size.is_number_unsigned())
    return fail(ErrorCode::corrupt, std::string(what) + " has a descriptor without a proper size");
  descriptor.size = size.get<uint64_t>();
  descriptor.tag = text_or_empty(child_or_null(json, "annotations"), kTagKey);
  const Json& platform = child_or_null(json, "platform");
  if (platform.is_object()) {
    descriptor.platform = text_or_empty(platform, "os") + "/" + text_or_empty(platform, "architecture");
    const std::string variant = text_or_empty(platform, "variant");
    if (!variant.empty()) descriptor.platform += "/" + variant;
  }
  descriptor.attestation = !text_or_empty(child_or_null(json, "annotations"), "vnd.docker.reference.type").empty() ||
                           descriptor.platform.starts_with("unknown/");
  return descriptor;
}

std::string describe(const Descriptor& descriptor) {
  std::string text = descriptor.tag.empty() ? "no tag" : "'" + printable(descriptor.tag) + "'";
  if (!descriptor.platform.empty()) text += " for " + printable(descriptor.platform);
  return text + " (" + descriptor.digest.to_string().substr(0, 19) + "…)";
}

std::string list_of(const std::vector<Descriptor>& all) {
  std::string text;
  for (size_t i = 0; i < std::min(all.size(), kMaxListed); ++i) text += (i == 0 ? "" : ", ") + describe(all[i]);
  return all.size() > kMaxListed ? text + ", …" : text;
}

bool is_for_this_machine(const Descriptor& descriptor) {
  const std::string own = "linux/" + std::string(machine_architecture());
  return descriptor.platform.empty() || descriptor.platform == own || descriptor.platform.starts_with(own + "/");
}

class OciLayout final : public ImageArchive {
 public:
  explicit OciLayout(std::shared_ptr<const LayoutFiles> files) : files_(std::move(files)), name_(files_->name()) {}

  Result<> select(std::string_view tag) {
    TRY_VOID(check_version());
    TRY(const std::string bytes, read_document("index.json"));
    TRY(const Json index, parse_json_object(bytes, name_ + "/index.json"));
    TRY(const Descriptor manifest, pick(index, tag, 0));
    return read_manifest(manifest);
  }

  Result<std::unique_ptr<ByteSource>> open_layer(size_t i) const override {
    return open_blob(*layers_[i].digest, layers_[i].size);
  }

 private:
  Result<> check_version() const {
    TRY(const std::string bytes, read_document("oci-layout"));
    TRY(const Json layout, parse_json_object(bytes, name_ + "/oci-layout"));
    const std::string version = text_or_empty(layout, "imageLayoutVersion");
    if (!version.starts_with("1.")) {
      return fail(ErrorCode::invalid_argument,
                  name_ + " has image layout version '" + printable(version) + "'; known is 1.0.0");
    }
    return {};
  }

  Result<std::string> read_document(const std::string& path) const {
    const auto opened = files_->open(path);
    if (!opened && opened.error().code == ErrorCode::not_found) {
      return fail(ErrorCode::invalid_argument, name_ + " is no OCI image layout: it has no file '" + path + "'");
    }
    if (!opened) return Unexpected(opened.error());
    auto bytes = read_to_end(*opened->source, kMaxDocumentBytes);
    if (!bytes) return fail_with_context(name_ + "/" + path, std::move(bytes).error());
    return bytes;
  }

  Result<std::unique_ptr<ByteSource>> open_blob(const Digest& digest, uint64_t size) const {
    const std::string path = "blobs/sha256/" + digest.hex();
    auto opened = files_->open(path);
    if (!opened && opened.error().code == ErrorCode::not_found) {
      return fail(ErrorCode::corrupt, "the image is incomplete: " + name_ + "/" + path + " is missing");
    }
    if (!opened) return Unexpected(std::move(opened).error());
    if (opened->size != size) {
      return fail(ErrorCode::corrupt, name_ + "/" + path + " has " + std::to_string(opened->size) +
                                          " bytes, its descriptor says " + std::to_string(size));
    }
    return std::move(opened->source);
  }

  Result<std::string> read_blob(const Descriptor& descriptor, std::string_view what) const {
    TRY(auto source, open_blob(descriptor.digest, descriptor.size));
    TRY(std::string bytes, read_to_end(*source, kMaxDocumentBytes));
    if (Digest::of(bytes) != descriptor.digest) {
      return fail(ErrorCode::corrupt,
                  std::string(what) + " " + descriptor.digest.to_string() + " does not match its digest");
    }
    return bytes;
  }

  Result<Descriptor> pick(const Json& index, std::string_view tag, int depth) const {
    const Json& list = child_or_null(index, "manifests");
    if (!list.is_array()) return fail(ErrorCode::corrupt, name_ + ": the index has no list of manifests");
    std::vector<Descriptor> all;
    for (const Json& item : list) {
      TRY(auto descriptor, parse_descriptor(item, name_ + ": the index"));
      if (!descriptor.attestation) all.push_back(std::move(descriptor));
    }
    std::vector<Descriptor> matching;
    for (const Descriptor& descriptor : all) {
      if (tag.empty() || descriptor.tag == tag) matching.push_back(descriptor);
    }
    if (all.empty()) return fail(ErrorCode::invalid_argument, name_ + " holds no image");
    if (matching.empty()) {
      return fail(ErrorCode::invalid_argument,
                  name_ + " has no image tagged '" + printable(tag) + "'; there is: " + list_of(all));
    }
    std::vector<Descriptor> here;
    std::ranges::copy_if(matching, std::back_inserter(here), is_for_this_machine);
    if (here.empty()) {
      return fail(ErrorCode::invalid_argument, name_ + " has nothing for linux/" + std::string(machine_architecture()) +
                                                   "; there is: " + list_of(matching));
    }
    const bool same =
        std::ranges::all_of(here, [&here](const Descriptor& d) { return d.digest == here.front().digest; });
    // Below the top, tags play no part and the first match is the one meant, as the image index specification has it.
    if (!same && depth == 0) {
      return fail(ErrorCode::invalid_argument, name_ + " holds several images; name one by its tag: " + list_of(here));
    }
    const Descriptor& chosen = here.front();
    if (is_one_of(chosen.media_type, kIndexTypes)) {
      if (depth >= kMaxIndexDepth) return fail(ErrorCode::corrupt, name_ + ": indexes are nested too deeply");
      TRY(const std::string bytes, read_blob(chosen, "the nested index"));
      TRY(const Json nested, parse_json_object(bytes, "the nested index"));
      return pick(nested, "", depth + 1);
    }
    if (!is_one_of(chosen.media_type, kManifestTypes)) {
      return fail(ErrorCode::invalid_argument, name_ + ": " + describe(chosen) + " is of kind '" +
                                                   printable(chosen.media_type) + "', which is no image");
    }
    return chosen;
  }

  Result<> read_manifest(const Descriptor& descriptor) {
    TRY(const std::string bytes, read_blob(descriptor, "the manifest"));
    TRY(const Json manifest, parse_json_object(bytes, "the manifest"));
    manifest_digest_ = descriptor.digest;
    TRY(const Descriptor config, parse_descriptor(child_or_null(manifest, "config"), "the manifest"));
    const std::string artifact = text_or_empty(manifest, "artifactType");
    if (!is_one_of(config.media_type, kConfigTypes) || !artifact.empty()) {
      return fail(ErrorCode::invalid_argument, name_ + " holds an artifact of kind '" +
                                                   printable(artifact.empty() ? config.media_type : artifact) +
                                                   "', no container image");
    }
    TRY(const std::string config_bytes, read_blob(config, "the image config"));
    TRY(config_, parse_image_config(config_bytes));
    if (!config_.os.empty() && config_.os != "linux") {
      return fail(ErrorCode::invalid_argument,
                  name_ + " is an image for " + printable(config_.os) + "; Hearth runs linux images");
    }
    if (!config_.architecture.empty() && config_.architecture != machine_architecture()) {
      return fail(ErrorCode::invalid_argument, name_ + " is an image for linux/" + printable(config_.architecture) +
                                                   ", this machine is linux/" + std::string(machine_architecture()));
    }
    const Json& layers = child_or_null(manifest, "layers");
    if (!layers.is_array()) return fail(ErrorCode::corrupt, "the manifest has no list of layers");
    for (const Json& item : layers) {
      TRY(const Descriptor layer, parse_descriptor(item, "the manifest"));
      if (!is_one_of(layer.media_type, kLayerTypes)) return unknown_layer_kind(layers);
      layers_.push_back({layer.digest, layer.size,
                         "layer " + std::to_string(layers_.size() + 1) + " (" + layer.digest.to_string() + ")"});
    }
    return check_layer_count(name_);
  }

  Unexpected unknown_layer_kind(const Json& layers) const {
    std::string kinds;
    for (const Json& item : layers) {
      const std::string type = text_or_empty(item, "mediaType");
      if (!is_one_of(type, kLayerTypes) && !kinds.contains(printable(type)))
        kinds += (kinds.empty() ? "" : ", ") + printable(type);
      if (kinds.size() > 1000) break;
    }
    return fail(ErrorCode::invalid_argument, name_ + " has layers of unknown kinds: " + kinds);
  }

  std::shared_ptr<const LayoutFiles> files_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<ImageArchive>> open_oci_layout(std::shared_ptr<const LayoutFiles> files, std::string_view tag) {
  auto layout = std::make_unique<OciLayout>(std::move(files));
  TRY_VOID(layout->select(tag));
  return layout;
}

Result<std::unique_ptr<ImageArchive>> open_oci_layout(const std::filesystem::path& directory, std::string_view tag) {
  TRY(auto files, open_layout_directory(directory));
  return open_oci_layout(std::move(files), tag);
}

}  // namespace hearth::oci
