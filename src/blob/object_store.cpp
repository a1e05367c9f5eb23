#include "blob/object_store.hpp"

#include "blob/directory_store.hpp"

#include <string>

namespace hearth::blob {

namespace {

constexpr size_t kMaxKeyBytes = 1024;
constexpr size_t kMaxPartBytes = 255;

}  // namespace

Result<std::vector<ObjectInfo>> ObjectStore::list_objects(std::string_view prefix) {
  TRY(const auto keys, list(prefix));
  std::vector<ObjectInfo> objects;
  for (const std::string& key : keys) {
    TRY(const auto bytes, size(key));
    if (bytes) objects.push_back({key, *bytes});
  }
  return objects;
}

Result<std::vector<std::string>> ObjectStore::folders(std::string_view folder) {
  TRY(const auto keys, list(folder));
  std::vector<std::string> names;
  for (std::string_view key : keys) {
    key.remove_prefix(folder.size());
    const size_t slash = key.find('/');
    if (slash == std::string_view::npos) continue;
    const std::string_view name = key.substr(0, slash);
    if (names.empty() || names.back() != name) names.emplace_back(name);
  }
  return names;
}

Result<> check_key(std::string_view key) {
  const auto refuse = [key](std::string_view why) -> Result<> {
    return fail(ErrorCode::invalid_argument,
                "not an object key (" + std::string(why) + "): '" + std::string(key.substr(0, kMaxKeyBytes)) + "'");
  };
  if (key.empty()) return refuse("empty");
  if (key.size() > kMaxKeyBytes) return refuse("longer than 1024 bytes");
  if (key.contains('\0')) return refuse("zero byte");
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view part = key.substr(begin, end - begin);
    if (part.empty()) return refuse("empty part");
    if (part == "." || part == "..") return refuse("'.' or '..' part");
    if (part.size() > kMaxPartBytes) return refuse("part longer than 255 bytes");
    if (part.starts_with(kTemporaryPrefix)) return refuse("'.tmp-' is reserved");
    begin = end + 1;
  }
  return {};
}

Result<std::shared_ptr<ObjectStore>> open_store(std::string_view url, IfMissing if_missing) {
  for (const std::string_view scheme : {"s3://", "gs://"}) {
    if (url.starts_with(scheme)) {
      return fail(ErrorCode::invalid_argument, "object store " + std::string(url) + ": '" + std::string(scheme) +
                                                   "' is not in this version; give a directory");
    }
  }
  if (url.empty()) return fail(ErrorCode::invalid_argument, "the object store needs a directory");
  if (url.contains("://")) {
    return fail(ErrorCode::invalid_argument, "object store " + std::string(url) + ": unknown kind; give a directory");
  }
  TRY(auto store, DirectoryStore::open(std::filesystem::path(url), if_missing));
  return std::shared_ptr<ObjectStore>(std::move(store));
}

}  // namespace hearth::blob
