// An object store in an S3 bucket, AWS's or any server's that speaks its protocol.
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

class S3Session;
struct S3Listing;

/// Objects are created with `If-None-Match: *`, so that the server decides between concurrent creators. Each carries
/// its writer's id as metadata: a creator whose answer was lost can tell whether the object that is there is its own.
/// Large files go up in parts, several at once. docs/stores.md has the settings.
class S3Store final : public ObjectStore {
 public:
  /// invalid_argument for a URL or settings that cannot be right. Nothing is asked of the server yet.
  static Result<std::shared_ptr<S3Store>> open(std::string_view url, const StoreEnvironment& environment);
  ~S3Store() override;

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
  explicit S3Store(std::unique_ptr<S3Session> session);

  Result<std::string> object_of(std::string_view key) const;
  Result<> check_bucket();
  Result<> each_page(std::string_view prefix, Folding folding, const std::function<void(S3Listing&)>& on_page);

  std::unique_ptr<S3Session> session_;
  std::atomic<bool> bucket_seen_{false};
};

}  // namespace hearth::blob
