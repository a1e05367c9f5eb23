#include "build/uploaded_layout.hpp"

#include "blob/object_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

namespace hearth::build {
namespace {

/// A file's parts, one after another; the next one is fetched while one is read.
class PartsSource final : public oci::ByteSource {
 public:
  PartsSource(std::shared_ptr<blob::ObjectStore> store, std::string workspace, ManifestEntry entry)
      : store_(std::move(store)), workspace_(std::move(workspace)), entry_(std::move(entry)), left_(entry_.size) {}

  Result<size_t> read(char* to, size_t size) override {
    if (used_ == part_.size()) {
      if (next_ == entry_.parts.size()) return at_the_end();
      TRY(part_, next_part());
      used_ = 0;
    }
    const size_t count = part_.copy(to, size, used_);
    used_ += count;
    left_ -= count;
    return count;
  }

 private:
  Result<size_t> at_the_end() const {
    if (left_ == 0) return size_t{0};
    return fail(ErrorCode::corrupt, fmt::format("the upload of {} is shorter than it should be", entry_.path));
  }

  Result<std::string> next_part() {
    auto fetched = ahead_.valid() ? ahead_.get() : fetch(next_);
    ++next_;
    TRY(std::string bytes, std::move(fetched));
    if (bytes.empty()) return fail(ErrorCode::corrupt, fmt::format("the upload of {} has an empty part", entry_.path));
    if (bytes.size() > left_) {
      return fail(ErrorCode::corrupt, fmt::format("the upload of {} is longer than it should be", entry_.path));
    }
    if (next_ < entry_.parts.size()) {
      ahead_ = std::async(std::launch::async, [this, part = next_] { return fetch(part); });
    }
    return bytes;
  }

  /// Touches nothing that changes: it runs beside the reader.
  Result<std::string> fetch(size_t i) const {
    const bool is_blob = entry_.path.starts_with("blobs/");
    return read_part(*store_, workspace_, entry_, entry_.parts[i], is_blob ? PartCheck::none : PartCheck::digest);
  }

  const std::shared_ptr<blob::ObjectStore> store_;
  const std::string workspace_;
  const ManifestEntry entry_;
  size_t next_ = 0;  // the part to be read next
  std::string part_;
  size_t used_ = 0;                         // bytes of part_
  uint64_t left_;                           // bytes of the file, part_ included
  std::future<Result<std::string>> ahead_;  // last: waits for a fetch that uses the others
};

class UploadedLayout final : public oci::LayoutFiles {
 public:
  UploadedLayout(std::shared_ptr<blob::ObjectStore> store, std::string workspace, Manifest files)
      : store_(std::move(store)), workspace_(std::move(workspace)), files_(std::move(files)) {}
  const std::string& name() const override { return name_; }

  Result<oci::LayoutFile> open(const std::string& path) const override {
    const ManifestEntry* entry = find_entry(files_, path);
    if (entry == nullptr) return fail(ErrorCode::not_found, fmt::format("{}/{} is missing", name_, path));
    if (entry->type != EntryType::file) {
      return fail(ErrorCode::corrupt, fmt::format("{}/{} is no regular file", name_, path));
    }
    return oci::LayoutFile{std::make_unique<PartsSource>(store_, workspace_, *entry), entry->size};
  }

 private:
  const std::shared_ptr<blob::ObjectStore> store_;
  const std::string workspace_;
  const Manifest files_;
  const std::string name_ = "the upload";
};

}  // namespace

std::shared_ptr<const oci::LayoutFiles> uploaded_layout(std::shared_ptr<blob::ObjectStore> store, std::string workspace,
                                                        Manifest files) {
  return std::make_shared<const UploadedLayout>(std::move(store), std::move(workspace), std::move(files));
}

}  // namespace hearth::build
