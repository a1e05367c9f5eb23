// An object store in a bucket of Google Cloud Storage, over its JSON API.
#pragma once

#include "blob/object_store.hpp"
#include "blob/remote_range.hpp"
#include "blob/store_environment.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

class GcsSession;
struct GcsListing;

/// Objects are created with `ifGenerationMatch=0`, so that the server decides between concurrent creators, and carry
/// their writer's id (as in S3Store).
class GcsStore final : public ObjectStore {
 public:
  /// invalid_argument for a URL or settings that cannot be right. Nothing is asked of the server yet.
  static Result<std::shared_ptr<GcsStore>> open(std::string_view url, const StoreEnvironment& environment);
  ~GcsStore() override;

  Result<std::string> get(std::string_view key) override;
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override;
  Result<> read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience) override;
  bool is_remote() const override { return true; }
  Result<Created> create(std::string_view key, std::string_view bytes) override;
  Result<Created> create_from_file(std::string_view key, const std::filesystem::path& path) override;
  Result<std::optional<uint64_t>> size(std::string_view key) override;
  Result<std::vector<std::string>> list(std::string_view prefix) override;
  Result<std::vector<ObjectInfo>> list_objects(std::string_view prefix) override;
  Result<std::vector<std::string>> folders(std::string_view folder) override;
  Result<> remove(std::string_view key) override;

 private:
  explicit GcsStore(std::unique_ptr<GcsSession> session);

  Result<std::string> object_of(std::string_view key) const;
  Result<> check_bucket();
  Result<> each_page(std::string_view prefix, Folding folding, const std::function<void(GcsListing&)>& on_page);

  std::unique_ptr<GcsSession> session_;
  std::atomic<bool> bucket_seen_{false};
};

}  // namespace hearth::blob
