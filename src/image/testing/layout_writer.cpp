#include "image/testing/layout_writer.hpp"

#include "base/digest.hpp"
#include "image/testing/tar_writer.hpp"
#include "oci/byte_source.hpp"
#include "oci/decompress.hpp"
#include "oci/image_archive.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace hearth::image::testing {

namespace {

using Json = nlohmann::json;

std::string plain_of(const std::string& blob) {
  oci::StringSource source(blob);
  auto plain = oci::Decompressor::open(source);
  auto bytes = plain ? oci::read_to_end(**plain, uint64_t{8} << 30) : Result<std::string>(fail(ErrorCode::corrupt, ""));
  return bytes ? *bytes : std::string("not to be decompressed");
}

Json config_of(const LayoutSpec& spec) {
  Json diff_ids = Json::array();
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    diff_ids.push_back(Digest::of(i < spec.plain.size() ? spec.plain[i] : plain_of(spec.layers[i])).to_string());
  }
  return {{"architecture", spec.architecture.empty() ? std::string(oci::machine_architecture()) : spec.architecture},
          {"os", "linux"},
          {"config", Json::parse(spec.config)},
          {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}};
}

Json descriptor(const std::string& type, const std::string& bytes) {
  return {{"mediaType", type}, {"digest", Digest::of(bytes).to_string()}, {"size", bytes.size()}};
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  if (!file) std::abort();
}

}  // namespace

std::string write_blob(const std::filesystem::path& directory, const std::string& bytes) {
  const std::string hex = Digest::of(bytes).hex();
  write(directory / "blobs/sha256" / hex, bytes);
  return hex;
}

std::string write_layout(const std::filesystem::path& directory, const LayoutSpec& spec) {
  const std::string config = config_of(spec).dump();
  Json layers = Json::array();
  for (const std::string& layer : spec.layers) {
    write_blob(directory, layer);
    layers.push_back(descriptor(spec.layer_type, layer));
  }
  write_blob(directory, config);
  const std::string manifest = Json{
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
      {"config", descriptor("application/vnd.oci.image.config.v1+json", config)},
      {"layers", layers}}.dump();
  write_blob(directory, manifest);
  Json index{{"schemaVersion", 2}, {"manifests", Json::array()}};
  if (std::ifstream old(directory / "index.json"); old) {
    index = Json::parse(std::string(std::istreambuf_iterator<char>(old), {}), nullptr, false);
  }
  Json entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
  if (!spec.tag.empty()) entry["annotations"] = {{"org.opencontainers.image.ref.name", spec.tag}};
  if (!spec.architecture.empty()) entry["platform"] = {{"os", "linux"}, {"architecture", spec.architecture}};
  index["manifests"].push_back(entry);
  write(directory / "index.json", index.dump());
  write(directory / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  return Digest::of(manifest).hex();
}

std::string make_docker_archive(const LayoutSpec& spec) {
  const std::string config = config_of(spec).dump();
  const std::string config_name = Digest::of(config).hex() + ".json";
  TarWriter tar;
  Json layers = Json::array();
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string name = std::to_string(i) + "/layer.tar";
    tar.directory(std::to_string(i) + "/");
    // A layer that was there before is a link to it, as docker writes them.
    size_t same = 0;
    while (spec.layers[same] != spec.layers[i]) ++same;
    if (same < i) {
      tar.symlink(name, "../" + std::to_string(same) + "/layer.tar");
    } else {
      tar.file(name, spec.layers[i]);
    }
    layers.push_back(name);
  }
  tar.file(config_name, config);
  Json image{{"Config", config_name}, {"Layers", layers}, {"RepoTags", Json::array()}};
  if (!spec.tag.empty()) image["RepoTags"].push_back("app:" + spec.tag);
  tar.file("manifest.json", Json::array({image}).dump());
  return tar.finish();
}

}  // namespace hearth::image::testing
