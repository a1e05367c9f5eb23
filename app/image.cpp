// hearth image import|ls: images by name.
#include "app/image_command.hpp"
#include "app/remote.hpp"
#include "base/quantity.hpp"
#include "client/folder.hpp"
#include "client/uploaded_operation.hpp"
#include "oci/image_archive.hpp"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <optional>

namespace hearth::app {

namespace {

constexpr std::string_view kImages = "/api/v1/images";
constexpr uint64_t kDocumentBytesMax = 1 << 20;  // of an index, manifest or config: they have some KiB

struct Options {
  Remote remote;
  std::string source;
  std::string name;
};

/// A SOURCE argument: what to upload, and what to tell the server about it.
struct Source {
  nlohmann::json request;
  std::filesystem::path root;  // of the files to upload; empty when there are none
  std::filesystem::path file;  // single file to upload as "archive.tar"
};

/// "DIR" or "DIR:TAG"; a folder whose own name holds a colon is found first.
std::pair<std::string, std::string> split_tag(const std::string& text) {
  std::error_code error;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || std::filesystem::is_directory(text, error)) return {text, ""};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

Result<Source> parse_source(const std::string& text) {
  Source source;
  if (text.starts_with("docker://")) {
    source.request = {{"kind", "docker"}, {"reference", text.substr(9)}};
  } else if (text.starts_with("docker-archive:")) {
    source.file = text.substr(15);
    source.request = {{"kind", "docker-archive"}};
  } else if (text.starts_with("oci:")) {
    const auto [folder, tag] = split_tag(text.substr(4));
    source.root = folder;
    source.request = {{"kind", "oci"}};
    if (!tag.empty()) source.request["tag"] = tag;
  } else {
    return fail(ErrorCode::invalid_argument,
                "'" + text + "' is no image source; write oci:DIR[:TAG], docker-archive:FILE or docker://REFERENCE");
  }
  return source;
}

/// Reads the files of a source, and says in the request what they are.
Result<client::UploadedOperation> scan_source(Source& source, client::Progress& progress) {
  client::UploadedOperation operation{.root = source.root, .path = std::string(kImages)};
  if (source.root.empty() && source.file.empty()) return operation;
  uint64_t read = 0;
  const auto on_bytes = [&read, &progress](uint64_t bytes) {
    read += bytes;
    progress.advance_to(read);
  };
  progress.phase("read", 0, "B");
  if (!source.root.empty()) {
    TRY(operation.entries, client::scan_folder(source.root, on_bytes));
  } else {
    TRY(auto entry, client::scan_file(source.file, source.file.filename().string(), on_bytes));
    if (entry.type != client::FolderEntry::Type::file) {
      return fail(ErrorCode::invalid_argument, source.file.string() + " is not a regular file");
    }
    operation.entries.push_back(std::move(entry));
    operation.root = source.file.parent_path().empty() ? "." : source.file.parent_path();
  }
  progress.finish();
  source.request["files"] = nlohmann::json::parse(client::manifest_json(operation.entries));
  return operation;
}

std::string request_of(const Options& options, const Source& source) {
  return nlohmann::json{{"name", options.name}, {"source", source.request}}.dump();
}

/// Nothing when the operation fails with one of the codes of an image that is not known.
Result<std::optional<std::string>> ask(client::ApiClient& api, const client::UploadedOperation& question,
                                       std::initializer_list<ErrorCode> unknown) {
  client::Progress silent(client::ProgressStyle::silent);  // it is over at once
  auto body = client::run_with_uploads(api, question, silent);
  if (body) return std::optional(std::move(*body));
  if (std::ranges::find(unknown, body.error().code) != unknown.end()) return std::optional<std::string>();
  return Unexpected(std::move(body).error());
}

/// An archive is known by its config alone.
Result<std::optional<std::string>> import_known_archive(client::ApiClient& api, const Options& options, Source source) {
  const auto config = oci::docker_archive_digest(source.file, "");
  if (!config || !*config) return std::optional<std::string>();  // what is wrong with it the server says
  source.request["config"] = (*config)->to_string();
  // invalid_argument: a server of before this question.
  return ask(api, {.path = std::string(kImages), .request = request_of(options, source)},
             {ErrorCode::not_found, ErrorCode::invalid_argument});
}

/// An image that the server imported before is known by the documents of its layout: no layer need be read, or sent.
/// Nothing when it has to be.
Result<std::optional<std::string>> import_known(client::ApiClient& api, const Options& options, Source source) {
  if (!source.file.empty()) return import_known_archive(api, options, std::move(source));
  if (source.root.empty()) return std::optional<std::string>();
  TRY(auto documents, client::scan_small_files(source.root, kDocumentBytesMax));
  if (!documents) return std::optional<std::string>();
  source.request["files"] = nlohmann::json::parse(client::manifest_json(*documents));
  return ask(api,
             {.root = source.root,
              .entries = std::move(*documents),
              .path = std::string(kImages),
              .request = request_of(options, source)},
             {ErrorCode::corrupt});  // the image is incomplete
}

Result<std::string> import_all(client::ApiClient& api, const Options& options, Source source) {
  client::Progress progress;
  TRY(auto operation, scan_source(source, progress));
  operation.request = request_of(options, source);
  return client::run_with_uploads(api, operation, progress);
}

Result<> import_image(const Options& options) {
  TRY(const auto source, parse_source(options.source));
  TRY(auto api, options.remote.open());
  TRY(auto known, import_known(api, options, source));
  auto imported = known ? Result<std::string>(std::move(*known)) : import_all(api, options, source);
  TRY(const std::string body, std::move(imported));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
  } else {
    std::printf("Imported %s. Use it with base = \"%s\" in [image] of hearth.toml.\n", options.name.c_str(),
                options.name.c_str());
  }
  return {};
}

std::string size_of(const nlohmann::json& image) {
  const auto& layer = image.contains("layer") ? image["layer"] : image;
  return layer.contains("size") && layer["size"].is_number_unsigned() ? format_bytes(layer["size"].get<uint64_t>())
                                                                      : "";
}

Result<> list_images(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.get("/api/v1/images"));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
    return {};
  }
  TRY(auto reply, parse_reply(body));
  std::vector<std::vector<std::string>> rows = {{"IMAGE", "SIZE", "CREATED", "SOURCE"}};
  for (const auto& image : reply.value("images", nlohmann::json::array())) {
    rows.push_back(
        {text_of(image, "name"), size_of(image), text_of(image, "created").substr(0, 19), text_of(image, "source")});
  }
  print_table(rows);
  return {};
}

void add_image(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* image = parent.add_subcommand("image", "Images: import, ls, inspect, mount, umount")->group(kModelCommands);
  image->require_subcommand(1);
  CLI::App* import = image->add_subcommand("import", "Import an OCI image under a name");
  import->add_option("source", options->source, "oci:DIR[:TAG], docker-archive:FILE or docker://REFERENCE")->required();
  import->add_option("name", options->name, "Name to use as base in hearth.toml")->required();
  add_remote_options(*import, options->remote);
  on_run(*import, [options] { return finish(import_image(*options)); });
  CLI::App* ls = image->add_subcommand("ls", "List images");
  add_remote_options(*ls, options->remote);
  on_run(*ls, [options] { return finish(list_images(*options)); });
  add_image_inspect(*image);
  add_image_mount(*image);
}

const Registration kRegistered("image", add_image);

}  // namespace

}  // namespace hearth::app
