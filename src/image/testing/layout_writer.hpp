// Writes OCI layouts and docker archives for tests, right ones by default and wrong ones where asked.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::image::testing {

struct LayoutSpec {
  std::vector<std::string> layers;  // blobs as stored: tar, or compressed tar
  std::vector<std::string> plain;   // the tars, for diff_ids; empty = found out by decompressing the blobs
  std::string tag = "latest";
  std::string architecture;  // empty = this machine's
  std::string layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
  std::string config =
      R"({"Env":["PATH=/usr/bin","LANG=C"],"User":"app","WorkingDir":"/work","Entrypoint":["/bin/run"],"Cmd":["x"]})";
};

/// Adds an image to a layout directory, which is made if needed. Returns the manifest's hex digest.
std::string write_layout(const std::filesystem::path& directory, const LayoutSpec& spec);

/// A `docker save` archive as old docker writes it: <hex>.json, <n>/layer.tar, manifest.json last.
std::string make_docker_archive(const LayoutSpec& spec);

/// Puts a blob into a layout's blobs folder; returns its hex digest.
std::string write_blob(const std::filesystem::path& directory, const std::string& bytes);

}  // namespace hearth::image::testing
