#include "image/import.hpp"

#include "base/random_id.hpp"
#include "image/import_history.hpp"
#include "image/layer_feed.hpp"
#include "image/layer_merger.hpp"
#include "image/layer_writer.hpp"
#include "oci/byte_source.hpp"
#include "oci/image_archive.hpp"
#include "oci/registry_fetch.hpp"
#include "oci/tar_reader.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace hearth::image {

namespace {

constexpr uint64_t kProgressEveryBytes = 8 * 1024 * 1024;

class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> make(const std::filesystem::path& parent) {
    std::error_code error;
    const auto base = parent.empty() ? std::filesystem::temp_directory_path(error) : parent;
    auto path = base / ("hearth-import-" + random_id());
    if (!std::filesystem::create_directory(path, error)) {
      return fail(ErrorCode::unavailable, "make a temporary directory in " + base.string() + ": " + error.message());
    }
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
    return TemporaryDirectory(std::move(path));
  }
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// Reads all layers of an archive into one tree.
class Importer {
 public:
  Importer(LayerWriter& writer, const oci::ImageArchive& archive, const ImportOptions& options)
      : writer_(writer), archive_(archive), options_(options), merger_(writer.tree()), feed_(archive) {
    for (const oci::LayerBlob& blob : archive.layers()) total_ += blob.size;
  }

  Result<> run() {
    if (archive_.layers().size() > options_.limits.layers) {
      return fail(ErrorCode::exhausted,
                  "the image has more layers than the limit of " + std::to_string(options_.limits.layers));
    }
    // A layer that is missing is said before others were read for nothing.
    for (size_t i = 0; i < archive_.layers().size(); ++i) TRY_VOID(archive_.open_layer(i));
    for (size_t i = 0; i < archive_.layers().size(); ++i) {
      if (auto done = read_layer(i); !done) return fail_with_context(archive_.layers()[i].name, done.error());
    }
    report("index");
    return {};
  }

  std::vector<std::string> take_notes() {
    std::ranges::move(std::vector<std::string>(merger_.notes()), std::back_inserter(notes_));
    return std::move(notes_);
  }

 private:
  /// Plain bytes on their way to the tar reader: limit, cancellation and progress are looked after here.
  class Guard final : public oci::ByteSource {
   public:
    Guard(Importer& importer, oci::ByteSource& inner) : importer_(importer), inner_(inner) {}
    Result<size_t> read(char* to, size_t size) override {
      TRY(const size_t got, inner_.read(to, size));
      TRY_VOID(importer_.count(got));
      return got;
    }

   private:
    Importer& importer_;
    oci::ByteSource& inner_;
  };

  Result<> count(uint64_t bytes) {
    unpacked_ += bytes;
    if (unpacked_ > options_.limits.unpacked_bytes) {
      return fail(ErrorCode::exhausted, "the image unpacks to more than the limit of " +
                                            std::to_string(options_.limits.unpacked_bytes) + " bytes");
    }
    if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "the import was cancelled");
    if (unpacked_ - reported_ >= kProgressEveryBytes) report("layers");
    return {};
  }

  void report(std::string_view phase) {
    reported_ = unpacked_;
    if (options_.progress) options_.progress({.phase = phase, .done = feed_.stored_bytes(), .total = total_});
  }

  Result<> read_layer(size_t i) {
    TRY(oci::ByteSource* const plain, feed_.next());
    Guard guarded(*this, *plain);
    oci::TarReader tar(guarded, {.entries = options_.limits.entries - entries_});
    TRY(auto entries, read_entries(tar));
    entries_ += tar.entries();
    for (const std::string& note : tar.notes()) notes_.push_back("layer " + std::to_string(i + 1) + ": " + note);
    TRY_VOID(feed_.check());  // the tar reader has read to the end
    return merger_.apply(std::move(entries));
  }

  Result<std::vector<MergeEntry>> read_entries(oci::TarReader& tar) {
    std::vector<MergeEntry> entries;
    for (;;) {
      TRY(auto entry, tar.next());
      if (!entry) return entries;
      MergeEntry merged{.entry = std::move(*entry)};
      if (!merged.entry.hard_link && merged.entry.type == FileType::regular) {
        const auto read = [&tar](uint64_t, char* to, size_t size) { return tar.read(to, size); };
        TRY(merged.content, writer_.store_content(merged.entry.segments, merged.entry.size, read));
        merged.entry.segments = {};
      }
      entries.push_back(std::move(merged));
    }
  }

  LayerWriter& writer_;
  const oci::ImageArchive& archive_;
  const ImportOptions& options_;
  LayerMerger merger_;
  LayerFeed feed_;
  std::vector<std::string> notes_;
  uint64_t total_ = 0;
  uint64_t unpacked_ = 0;
  uint64_t reported_ = 0;
  uint64_t entries_ = 0;
};

oci::RegistryFetch fetch_of(const ImportSource& source, const ImportOptions& options) {
  oci::RegistryFetch fetch{.reference = source.reference, .auth_file = source.auth_file, .deadline = options.deadline};
  fetch.on_line = [&options](std::string_view line) {
    if (options.progress) options.progress({.phase = "download", .message = line});
  };
  return fetch;
}

Result<std::unique_ptr<oci::ImageArchive>> open_archive(const ImportSource& source, const ImportOptions& options,
                                                        const std::filesystem::path& work_directory) {
  switch (source.kind) {
    case SourceKind::oci_layout:
      return source.files ? oci::open_oci_layout(source.files, source.tag)
                          : oci::open_oci_layout(source.path, source.tag);
    case SourceKind::docker_archive:
      return oci::open_docker_archive(source.path, source.tag, work_directory);
    case SourceKind::registry:
      break;
  }
  oci::RegistryFetch fetch = fetch_of(source, options);
  fetch.directory = work_directory / "layout";
  TRY_VOID(oci::fetch_from_registry(fetch));
  return oci::open_oci_layout(fetch.directory, "image");
}

/// One import: what it may be known by, and what it becomes.
class ImportRun {
 public:
  ImportRun(std::shared_ptr<blob::ObjectStore> store, StoreScope scope, const ImportSource& source,
            const ImportOptions& options)
      : store_(std::move(store)), scope_(std::move(scope)), source_(source), pinned_(source), options_(options) {}

  Result<ImageRecord> run() {
    if (source_.known) return find_known(*source_.known);
    TRY(auto record, look_in_registry());
    if (record) return known(std::move(*record));
    TRY(const auto work, TemporaryDirectory::make(options_.work_directory));
    TRY(const auto archive, open_archive(pinned_, options_, work.path()));
    TRY(record, find(archive->manifest_digest()));
    if (record) return known(std::move(*record));
    TRY(ImageRecord made, make(*archive));
    if (options_.intent) TRY_VOID(remember_import(*store_, scope_, made, unknown_));
    return made;
  }

 private:
  Result<std::optional<ImageRecord>> find(const Digest& manifest) {
    const bool looked = std::ranges::find(unknown_, manifest) != unknown_.end();
    if (!options_.intent || looked) return std::optional<ImageRecord>();
    TRY(auto record, find_import(*store_, scope_, manifest, *options_.intent));
    if (!record) unknown_.push_back(manifest);
    return record;
  }

  /// No archive is there to be read.
  Result<ImageRecord> find_known(const Digest& manifest) {
    TRY(auto record, find(manifest));
    if (record) return known(std::move(*record));
    return fail(ErrorCode::not_found, "this image was not imported before: its archive has to be sent");
  }

  /// What a tag stands for now; from here on exactly that is meant, even if the tag moves.
  Result<std::optional<ImageRecord>> look_in_registry() {
    if (source_.kind != SourceKind::registry || !options_.intent) return std::optional<ImageRecord>();
    TRY(const auto digest, oci::registry_digest(fetch_of(source_, options_)));
    if (!digest) return std::optional<ImageRecord>();
    pinned_.reference = oci::pinned(source_.reference, *digest);
    return find(*digest);
  }

  /// An earlier record, as of this import; the next one finds it by all that this one was asked for.
  Result<ImageRecord> known(ImageRecord record) const {
    TRY_VOID(remember_import(*store_, scope_, record, unknown_));
    record.source = to_string(source_);
    record.layer.new_bytes = 0;
    return record;
  }

  Result<ImageRecord> make(const oci::ImageArchive& archive) {
    const BuildOptions build{
        .workers = options_.workers, .stop = options_.stop, .intent = options_.intent, .catalogue = options_.catalogue};
    LayerWriter writer(store_, scope_, build);
    Importer importer(writer, archive, options_);
    TRY_VOID(importer.run());
    ImageRecord record;
    TRY(record.layer, writer.finish());
    const oci::ImageConfig& config = archive.config();
    record.env = config.env;
    record.user = config.user;
    record.working_dir = config.working_dir;
    record.entrypoint = config.entrypoint;
    record.command = config.command;
    record.architecture = config.architecture;
    record.source = to_string(source_);
    record.manifest = archive.manifest_digest();
    record.source_layers = archive.layers().size();
    record.notes = importer.take_notes();
    return record;
  }

  const std::shared_ptr<blob::ObjectStore> store_;
  const StoreScope scope_;
  const ImportSource& source_;  // as it was asked for
  ImportSource pinned_;         // what is fetched
  const ImportOptions& options_;
  std::vector<Digest> unknown_;  // names of the image under which no earlier import was found
};

}  // namespace

Result<ImageRecord> import_image(const std::shared_ptr<blob::ObjectStore>& store, const StoreScope& scope,
                                 const ImportSource& source, const ImportOptions& options) {
  return ImportRun(store, scope, source, options).run();
}

}  // namespace hearth::image
