// open_docker_archive: a tar with manifest.json, a config and a tar for each layer, in any order and with links among
// its members.
#include "base/file.hpp"
#include "base/unique_fd.hpp"
#include "oci/decompress.hpp"
#include "oci/file_metadata.hpp"
#include "oci/image_archive.hpp"
#include "oci/json_document.hpp"
#include "oci/tar_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

namespace hearth::oci {

namespace {

constexpr uint64_t kMaxDocumentBytes = 16 * 1024 * 1024;
constexpr uint64_t kMaxMembers = 100'000;
constexpr size_t kMaxListed = 20;
constexpr int kMaxLinks = 8;

/// Counts what passes, so that members can be found again by position.
class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(FileSource inner) : inner_(std::move(inner)) {}
  Result<size_t> read(char* to, size_t size) override {
    TRY(const size_t got, inner_.read(to, size));
    position_ += got;
    return got;
  }
  Result<uint64_t> pass_over(uint64_t size) override {
    TRY(const uint64_t passed, inner_.pass_over(size));
    position_ += passed;
    return passed;
  }
  uint64_t position() const { return position_; }

 private:
  FileSource inner_;
  uint64_t position_ = 0;
};

struct Member {
  uint64_t offset = 0;
  uint64_t size = 0;
  std::string link;  // another member that has the bytes
};

/// Member names without "./" and ".."; links of old archives are relative to their own folder.
std::string plain_name(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(part);
  }
  std::string name;
  for (const std::string_view part : parts) (name += name.empty() ? "" : "/") += part;
  return name;
}

class DockerArchive final : public ImageArchive {
 public:
  DockerArchive(std::shared_ptr<const UniqueFd> file, uint64_t size, std::string name)
      : file_(std::move(file)), size_(size), name_(std::move(name)) {}

  Result<> select(std::string_view tag) {
    TRY_VOID(find_members());
    TRY(const std::string bytes, read_member("manifest.json"));
    const Json manifest = Json::parse(bytes, nullptr, false);
    if (!manifest.is_array()) return fail(ErrorCode::corrupt, name_ + ": manifest.json is no JSON list");
    TRY(const Json image, pick(manifest, tag));
    return read_image(image);
  }

  Result<std::unique_ptr<ByteSource>> open_layer(size_t i) const override {
    const Member& member = layer_members_[i];
    return std::make_unique<FileSource>(file_, member.offset, member.size, layers_[i].name);
  }

 private:
  Result<> find_members() {
    CountingSource source(FileSource(file_, 0, size_, name_));
    TarReader reader(source, {.entries = kMaxMembers});
    for (;;) {
      auto entry = reader.next();
      if (!entry) return fail_with_context(name_ + " is no `docker save` archive", std::move(entry).error());
      if (!*entry) break;
      const std::string path = plain_name((*entry)->path);
      if ((*entry)->hard_link) {
        members_[path] = {.link = plain_name((*entry)->link)};
      } else if ((*entry)->type == FileType::symlink) {
        members_[path] = {.link = plain_name(path.substr(0, path.rfind('/') + 1) + (*entry)->link)};
      } else if ((*entry)->type == FileType::regular) {
        const bool dense = (*entry)->segments.empty() || (*entry)->segments.front().length == (*entry)->size;
        if (!dense)
          return fail(ErrorCode::invalid_argument, name_ + ": '" + printable(path) + "' is stored as a sparse file");
        members_[path] = {.offset = source.position(), .size = (*entry)->size};
      }
    }
    if (!members_.contains("manifest.json")) {
      return fail(ErrorCode::invalid_argument, name_ + " is no `docker save` archive: it has no manifest.json");
    }
    return {};
  }

  Result<Member> find(std::string_view path) const {
    std::string name = plain_name(path);
    for (int links = 0; links <= kMaxLinks; ++links) {
      const auto found = members_.find(name);
      if (found == members_.end()) break;
      if (found->second.link.empty()) return found->second;
      name = found->second.link;
    }
    return fail(ErrorCode::corrupt, "the image is incomplete: " + name_ + " has no member '" + printable(path) + "'");
  }

  Result<std::string> read_member(std::string_view path) const {
    TRY(const Member member, find(path));
    FileSource source(file_, member.offset, member.size, name_);
    auto bytes = read_to_end(source, kMaxDocumentBytes);
    if (!bytes) return fail_with_context(name_ + ", member '" + printable(path) + "'", std::move(bytes).error());
    return bytes;
  }

  Result<Json> pick(const Json& manifest, std::string_view tag) const {
    std::string known;
    std::vector<const Json*> matching;
    size_t listed = 0;
    for (const Json& image : manifest) {
      TRY(const auto tags, texts(image, "RepoTags", name_ + ": manifest.json"));
      const bool match =
          tag.empty() || std::ranges::any_of(tags, [tag](const std::string& own) {
            // "app:1" also finds "registry.example/app:1" and a bare "1" the tag after the colon
            return own == tag || own.ends_with("/" + std::string(tag)) || own.ends_with(":" + std::string(tag));
          });
      if (match) matching.push_back(&image);
      if (tags.empty() && ++listed <= kMaxListed) known += std::string(known.empty() ? "" : ", ") + "one without a tag";
      for (const std::string& own : tags) {
        if (++listed <= kMaxListed) known += (known.empty() ? "'" : ", '") + printable(own) + "'";
      }
    }
    if (manifest.empty()) return fail(ErrorCode::invalid_argument, name_ + " holds no image");
    if (matching.empty()) {
      return fail(ErrorCode::invalid_argument,
                  name_ + " has no image tagged '" + printable(tag) + "'; there is: " + known);
    }
    if (matching.size() > 1) {
      return fail(ErrorCode::invalid_argument, name_ + " holds several images; name one by its tag: " + known);
    }
    return *matching.front();
  }

  Result<> read_image(const Json& image) {
    const std::string config_path = text_or_empty(image, "Config");
    TRY(const std::string bytes, read_member(config_path));
    manifest_digest_ = Digest::of(bytes);
    // "<hex>.json" or "blobs/sha256/<hex>": the name is a promise.
    std::string stem = config_path.substr(config_path.rfind('/') + 1);
    if (stem.ends_with(".json")) stem.resize(stem.size() - 5);
    if (const auto named = Digest::parse(stem); named && *named != manifest_digest_) {
      return fail(ErrorCode::corrupt, name_ + ": the image config does not match its digest " + stem);
    }
    TRY(config_, parse_image_config(bytes));
    if (!config_.architecture.empty() && config_.architecture != machine_architecture()) {
      return fail(ErrorCode::invalid_argument, name_ + " is an image for linux/" + printable(config_.architecture) +
                                                   ", this machine is linux/" + std::string(machine_architecture()));
    }
    TRY(const auto paths, texts(image, "Layers", name_ + ": manifest.json"));
    for (const std::string& path : paths) {
      TRY(const Member member, find(path));
      LayerBlob blob{.size = member.size,
                     .name = "layer " + std::to_string(layers_.size() + 1) + " ('" + printable(path) + "')"};
      if (const auto named = Digest::parse(path.substr(path.rfind('/') + 1));
          named && path.starts_with("blobs/sha256/")) {
        blob.digest = *named;
      }
      layer_members_.push_back(member);
      layers_.push_back(std::move(blob));
    }
    return check_layer_count(name_);
  }

  std::shared_ptr<const UniqueFd> file_;
  uint64_t size_;
  std::string name_;
  std::map<std::string, Member> members_;
  std::vector<Member> layer_members_;
};

/// Members are needed in another order than they come in, so a compressed archive becomes a plain one first.
Result<RegularFile> decompress_to_file(ByteSource& plain, const std::filesystem::path& directory) {
  const std::string folder = directory.empty() ? std::filesystem::temp_directory_path().string() : directory.string();
  UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("make a temporary file in " + folder, errno);
  std::string buffer(256 * 1024, '\0');
  for (uint64_t size = 0;;) {
    TRY(const size_t got, plain.read(buffer.data(), buffer.size()));
    if (got == 0) return RegularFile{std::make_shared<const UniqueFd>(std::move(fd)), size};
    size += got;
    TRY_VOID(write_all(fd.get(), std::string_view(buffer).substr(0, got), "the decompressed archive in " + folder));
  }
}

}  // namespace

Result<std::unique_ptr<ImageArchive>> open_docker_archive(const std::filesystem::path& file, std::string_view tag,
                                                          const std::filesystem::path& work_directory) {
  TRY(RegularFile stored, open_regular_file(file));
  FileSource source(stored.fd, 0, stored.size, file.string());
  TRY(const auto plain, Decompressor::open(source));
  if (plain->compression() != Compression::none) {
    auto copy = decompress_to_file(*plain, work_directory);
    if (!copy) return fail_with_context(file.string(), std::move(copy).error());
    stored = std::move(*copy);
  }
  auto archive = std::make_unique<DockerArchive>(std::move(stored.fd), stored.size, file.string());
  TRY_VOID(archive->select(tag));
  return archive;
}

Result<std::optional<Digest>> docker_archive_digest(const std::filesystem::path& file, std::string_view tag) {
  TRY(const RegularFile stored, open_regular_file(file));
  FileSource source(stored.fd, 0, stored.size, file.string());
  TRY(const auto plain, Decompressor::open(source));
  if (plain->compression() != Compression::none) return std::optional<Digest>();
  DockerArchive archive(stored.fd, stored.size, file.string());
  TRY_VOID(archive.select(tag));
  return std::optional(archive.manifest_digest());
}

}  // namespace hearth::oci
