// Ranges of a remote object as ObjectStore promises them: exact, or an error that says why.
#pragma once

#include "blob/object_store.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// get() over a store's read(): exhausted for objects over kWholeObjectMaxBytes.
Result<std::string> read_whole_object(ObjectStore& store, std::string_view key);
inline constexpr uint64_t kWholeObjectMaxBytes = uint64_t{4} << 30;

/// get_range() over a store's read().
Result<std::string> read_whole_range(ObjectStore& store, std::string_view key, uint64_t offset, uint64_t length);

/// Ranges that HTTP cannot say, answered by the object's size: no bytes at all (false), or from beyond its end
/// (corrupt).
Result<bool> range_has_bytes(ObjectStore& store, std::string_view key, ByteRange range);

/// Whether a listing names every object, or folds those that lie deeper into one name.
enum class Folding { none, at_slash };

/// Just the keys of a listing.
std::vector<std::string> keys_of(std::vector<ObjectInfo> objects);
/// "b" of "prefix/a/b/", when "prefix/a/" has `before` bytes.
std::string folder_name(std::string_view prefix, size_t before);

}  // namespace hearth::blob
