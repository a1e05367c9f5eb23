// ImageRecord as JSON, and sources as text.
#include "image/import.hpp"
#include "oci/file_metadata.hpp"

#include <nlohmann/json.hpp>

namespace hearth::image {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kOci = "oci:";
constexpr std::string_view kDockerArchive = "docker-archive:";
constexpr std::string_view kDocker = "docker://";

/// "PATH[:TAG]": a tag has no slash; a path with a colon of its own needs one after it.
void split_tag(std::string_view text, ImportSource& source) {
  std::error_code error;
  const bool is_path = std::filesystem::is_directory(std::filesystem::path(text), error);
  const size_t colon = is_path ? std::string_view::npos : text.rfind(':');
  const bool has_tag = colon != std::string_view::npos && !text.substr(colon + 1).contains('/') && colon > 0;
  source.path = has_tag ? text.substr(0, colon) : text;
  if (has_tag) source.tag = text.substr(colon + 1);
}

/// docker-archive:FILE[:NAME:TAG]: the reference after the file may have slashes and a colon of its own.
void split_docker_tag(std::string_view text, ImportSource& source) {
  for (size_t colon = text.find(':'); colon != std::string_view::npos; colon = text.find(':', colon + 1)) {
    std::error_code error;
    if (std::filesystem::is_regular_file(std::filesystem::path(text.substr(0, colon)), error)) {
      source.path = text.substr(0, colon);
      source.tag = text.substr(colon + 1);
      return;
    }
  }
  source.path = text;
}

uint64_t number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> texts(const Json& object, const char* key) {
  std::vector<std::string> list;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return list;
  for (const Json& item : *found) {
    if (item.is_string()) list.push_back(item.get<std::string>());
  }
  return list;
}

}  // namespace

Result<ImportSource> parse_import_source(std::string_view text) {
  ImportSource source;
  if (text.starts_with(kDocker)) {
    source.kind = SourceKind::registry;
    source.reference = text.substr(kDocker.size());
  } else if (text.starts_with(kDockerArchive)) {
    source.kind = SourceKind::docker_archive;
    split_docker_tag(text.substr(kDockerArchive.size()), source);
  } else if (text.starts_with(kOci)) {
    source.kind = SourceKind::oci_layout;
    split_tag(text.substr(kOci.size()), source);
  } else {
    return fail(ErrorCode::invalid_argument,
                "'" + oci::printable(text) +
                    "' is no image source; use oci:DIR[:TAG], docker-archive:FILE[:TAG] or docker://REFERENCE");
  }
  if (source.reference.empty() && source.path.empty()) {
    return fail(ErrorCode::invalid_argument, "'" + oci::printable(text) + "' names no image");
  }
  return source;
}

std::string to_string(const ImportSource& source) {
  const std::string tag = source.tag.empty() ? "" : ":" + source.tag;
  switch (source.kind) {
    case SourceKind::oci_layout:
      return std::string(kOci) + source.path.string() + tag;
    case SourceKind::docker_archive:
      return std::string(kDockerArchive) + source.path.string() + tag;
    case SourceKind::registry:
      return std::string(kDocker) + source.reference;
  }
  return {};
}

std::string to_json(const ImageRecord& record) {
  const Json json{{"name", record.name},
                  {"digest", record.layer.digest.to_string()},
                  {"size", record.layer.index_bytes},
                  {"content_bytes", record.layer.content_bytes},
                  {"stored_bytes", record.layer.stored_bytes},
                  {"entries", record.layer.entries},
                  {"chunks", record.layer.chunks},
                  {"packs", record.layer.packs},
                  {"new_bytes", record.layer.new_bytes},
                  {"shared_bytes", record.layer.shared_bytes},
                  {"stale_pyc", record.layer.stale_pyc},
                  {"env", record.env},
                  {"user", record.user},
                  {"working_dir", record.working_dir},
                  {"entrypoint", record.entrypoint},
                  {"command", record.command},
                  {"architecture", record.architecture},
                  {"source", record.source},
                  {"manifest", record.manifest.to_string()},
                  {"source_layers", record.source_layers},
                  {"notes", record.notes}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ImageRecord> parse_image_record(std::string_view bytes) {
  const Json json = Json::parse(bytes, nullptr, false);
  if (!json.is_object()) return fail(ErrorCode::corrupt, "an image record that is no JSON object");
  ImageRecord record;
  auto digest = Digest::parse(text(json, "digest"));
  if (!digest) return fail_with_context("image record", std::move(digest).error());
  record.name = text(json, "name");
  record.layer = {.digest = *digest,
                  .index_bytes = number(json, "size"),
                  .content_bytes = number(json, "content_bytes"),
                  .stored_bytes = number(json, "stored_bytes"),
                  .entries = number(json, "entries"),
                  .chunks = number(json, "chunks"),
                  .packs = number(json, "packs"),
                  .new_bytes = number(json, "new_bytes"),
                  .shared_bytes = number(json, "shared_bytes"),
                  .stale_pyc = number(json, "stale_pyc")};
  record.env = texts(json, "env");
  record.user = text(json, "user");
  record.working_dir = text(json, "working_dir");
  record.entrypoint = texts(json, "entrypoint");
  record.command = texts(json, "command");
  record.architecture = text(json, "architecture");
  record.source = text(json, "source");
  if (const auto manifest = Digest::parse(text(json, "manifest"))) record.manifest = *manifest;
  record.source_layers = number(json, "source_layers");
  record.notes = texts(json, "notes");
  return record;
}

}  // namespace hearth::image
