#include "blob/remote_range.hpp"

#include <algorithm>

namespace hearth::blob {

namespace {

constexpr uint64_t kReserveMaxBytes = uint64_t{64} << 20;

Unexpected too_short(std::string_view key, uint64_t bytes, uint64_t offset) {
  return fail(ErrorCode::corrupt, "object " + std::string(key) + " has " + std::to_string(bytes) +
                                      " bytes, wanted some from " + std::to_string(offset));
}

}  // namespace

Result<std::string> read_whole_object(ObjectStore& store, std::string_view key) {
  std::string bytes;
  TRY_VOID(store.read(key, {},
                      [&bytes, key](std::string_view more) -> Result<> {
                        if (bytes.size() + more.size() > kWholeObjectMaxBytes) {
                          return fail(ErrorCode::exhausted,
                                      "object " + std::string(key) + " is too large to be read whole");
                        }
                        bytes.append(more);
                        return {};
                      },
                      {}));
  return bytes;
}

Result<std::string> read_whole_range(ObjectStore& store, std::string_view key, uint64_t offset, uint64_t length) {
  if (length >= ByteRange::kToEnd - offset) {  // longer than anything is
    TRY_VOID(check_key(key));
    TRY(const auto bytes, store.size(key));
    if (!bytes) return fail(ErrorCode::not_found, "no object " + std::string(key));
    return too_short(key, *bytes, offset);
  }
  std::string out;
  out.reserve(std::min(length, kReserveMaxBytes));
  TRY_VOID(store.read(key, {offset, length},
                      [&out](std::string_view more) -> Result<> {
                        out.append(more);
                        return {};
                      },
                      {}));
  return out;
}

Result<bool> range_has_bytes(ObjectStore& store, std::string_view key, ByteRange range) {
  const bool to_end = range.length == ByteRange::kToEnd;
  if (range.length != 0 && !(to_end && range.offset > 0)) return true;
  TRY(const auto bytes, store.size(key));
  if (!bytes) return fail(ErrorCode::not_found, "no object " + std::string(key));
  if (range.offset > *bytes) return too_short(key, *bytes, range.offset);
  return to_end && range.offset < *bytes;
}

std::vector<std::string> keys_of(std::vector<ObjectInfo> objects) {
  std::vector<std::string> keys;
  keys.reserve(objects.size());
  for (ObjectInfo& object : objects) keys.push_back(std::move(object.key));
  return keys;
}

std::string folder_name(std::string_view prefix, size_t before) {
  prefix.remove_prefix(std::min(before, prefix.size()));
  if (prefix.ends_with('/')) prefix.remove_suffix(1);
  return std::string(prefix);
}

}  // namespace hearth::blob
