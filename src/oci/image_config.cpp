#include "oci/file_metadata.hpp"
#include "oci/image_archive.hpp"
#include "oci/json_document.hpp"

namespace hearth::oci {

Result<ImageConfig> parse_image_config(std::string_view json) {
  TRY(const Json document, parse_json_object(json, "the image config"));
  ImageConfig config;
  config.architecture = text_or_empty(document, "architecture");
  config.os = text_or_empty(document, "os");
  const Json& run = child_or_null(document, "config");
  TRY(config.env, texts(run, "Env", "the image config"));
  TRY(config.entrypoint, texts(run, "Entrypoint", "the image config"));
  TRY(config.command, texts(run, "Cmd", "the image config"));
  config.user = text_or_empty(run, "User");
  config.working_dir = text_or_empty(run, "WorkingDir");
  const Json& rootfs = child_or_null(document, "rootfs");
  if (!rootfs.is_object())
    return fail(ErrorCode::corrupt, "the image config has no 'rootfs': this is no container image");
  TRY(const auto diff_ids, texts(rootfs, "diff_ids", "the image config"));
  for (const std::string& text : diff_ids) {
    auto digest =
        text.starts_with("sha256:") ? Digest::parse(text) : Result<Digest>(fail(ErrorCode::invalid_argument, ""));
    if (!digest) {
      return fail(ErrorCode::invalid_argument,
                  "the image config has the diff_id '" + printable(text) + "'; only sha256 digests are known");
    }
    config.diff_ids.push_back(*digest);
  }
  return config;
}

Result<> ImageArchive::check_layer_count(std::string_view where) const {
  if (layers_.size() == config_.diff_ids.size()) return {};
  return fail(ErrorCode::corrupt, std::string(where) + ": the manifest has " + std::to_string(layers_.size()) +
                                      " layers, the config " + std::to_string(config_.diff_ids.size()) + " diff_ids");
}

std::string_view machine_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#elif defined(__riscv) && __riscv_xlen == 64
  return "riscv64";
#else
  return "unknown";
#endif
}

}  // namespace hearth::oci
