#include "blob/object_store.hpp"

#include "blob/directory_store.hpp"
#include "blob/gcs_store.hpp"
#include "blob/s3_store.hpp"
#include "blob/store_environment.hpp"

#include <algorithm>
#include <string>

namespace hearth::blob {

namespace {

constexpr size_t kMaxKeyBytes = 1024;
constexpr size_t kMaxPartBytes = 255;
constexpr uint64_t kReadPieceBytes = uint64_t{1} << 20;

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

Result<> ObjectStore::read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience) {
  if (range.length == ByteRange::kToEnd) {
    TRY(const auto bytes, size(key));
    if (!bytes) return fail(ErrorCode::not_found, "no object " + std::string(key));
    if (range.offset > *bytes) {
      return fail(ErrorCode::corrupt, "object " + std::string(key) + " has " + std::to_string(*bytes) +
                                          " bytes, wanted some from " + std::to_string(range.offset));
    }
    range.length = *bytes - range.offset;
  }
  while (range.length > 0) {
    if (patience.stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
    if (patience.deadline.passed(mono_now())) {
      return fail(ErrorCode::deadline_exceeded, "object " + std::string(key) + " could not be read in time");
    }
    const uint64_t piece = std::min(range.length, kReadPieceBytes);
    TRY(const std::string bytes, get_range(key, range.offset, piece));
    TRY_VOID(sink(bytes));
    range.offset += piece;
    range.length -= piece;
  }
  return {};
}

Result<> check_prefix(std::string_view prefix) {
  const size_t slash = prefix.rfind('/');
  if (slash == std::string_view::npos) return {};
  return check_key(prefix.substr(0, slash));
}

Result<std::shared_ptr<ObjectStore>> open_store(std::string_view url, IfMissing if_missing) {
  if (url.starts_with("s3://")) return S3Store::open(url, StoreEnvironment::of_process());
  if (url.starts_with("gs://")) return GcsStore::open(url, StoreEnvironment::of_process());
  if (url.empty()) return fail(ErrorCode::invalid_argument, "the object store needs a folder or a URL");
  if (url.contains("://")) {
    return fail(ErrorCode::invalid_argument,
                "object store " + std::string(url) + ": unknown kind; give a folder, s3://BUCKET or gs://BUCKET");
  }
  TRY(auto store, DirectoryStore::open(std::filesystem::path(url), if_missing));
  return std::shared_ptr<ObjectStore>(std::move(store));
}

}  // namespace hearth::blob
