// An object store in a directory of a local or network file system.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "blob/object_store.hpp"

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// Names of files that are being written where O_TMPFILE does not work; never listed, never readable as keys.
inline constexpr std::string_view kTemporaryPrefix = ".tmp-";

/// A key is a path below the root. An object is written to a nameless file, synced and linked under its name, so that
/// link(2) decides between concurrent creators; the folder is synced before create() returns. Run as root, files and
/// folders get the owner of the root folder; modes are 0640 and 0750.
class DirectoryStore final : public ObjectStore {
 public:
  /// unavailable when the directory is not there (unless it is to be made), invalid_argument when it is no directory.
  static Result<std::shared_ptr<DirectoryStore>> open(const std::filesystem::path& root, IfMissing if_missing);

  Result<std::string> get(std::string_view key) override;
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override;
  Result<Created> create(std::string_view key, std::string_view bytes) override;
  Result<Created> create_from_file(std::string_view key, const std::filesystem::path& path) override;
  Result<std::optional<uint64_t>> size(std::string_view key) override;
  Result<std::vector<std::string>> list(std::string_view prefix) override;
  Result<std::vector<ObjectInfo>> list_objects(std::string_view prefix) override;
  Result<std::vector<std::string>> folders(std::string_view folder) override;
  Result<> remove(std::string_view key) override;

 private:
  struct Draft;

  DirectoryStore(std::filesystem::path root, uid_t uid, gid_t gid, bool give_away)
      : root_(std::move(root)), owner_uid_(uid), owner_gid_(gid), give_away_(give_away) {}

  std::filesystem::path path_of(std::string_view key) const { return root_ / key; }
  Result<UniqueFd> open_object(std::string_view key) const;
  Result<> make_folders(const std::filesystem::path& folder) const;
  Result<Draft> open_draft(std::string_view key) const;
  Result<Created> publish(Draft draft, std::string_view key) const;
  Result<> collect(const std::filesystem::path& folder, std::string_view folder_key, std::string_view prefix,
                   std::vector<ObjectInfo>& objects) const;
  Unexpected failed(std::string_view what, std::string_view key, int errno_value) const;

  std::filesystem::path root_;
  uid_t owner_uid_;
  gid_t owner_gid_;
  bool give_away_;  // we are root and the root folder is not root's
};

}  // namespace hearth::blob
