// How an index lies in the store: its tables by planes of bytes and compressed, its tree as it was
// (docs/formats/layer.md, "Packed form"). The plain form is what everything else knows; a digest is always of the plain
// tree part.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::image {

/// The packed form of a plain index that encode_layer made. Where the plain one would be larger than a reader takes
/// from so few bytes, it stays as it is: both forms are indexes. Memory: both forms, and a copy of the largest table.
std::string pack_index(std::string_view plain);

/// Whether these are the bytes of a packed index, damaged or not.
bool is_packed_index(std::string_view stored);

/// The plain tree part and places behind it, without the checksum that ends a plain index: the packed form has its own,
/// which is checked here. Total: any bytes may come; corrupt with the first rule that is broken. Nothing is known of
/// the content but that it fits the counts of its header. Memory: the plain form, at most kMaxPackedRatio times what
/// came, a copy of its largest table, and zstd's window of at most 8 MiB.
Result<std::string> unpack_index(std::string_view stored);

/// The bound on what is allocated for an index that says how large it is.
inline constexpr uint64_t kMaxPackedRatio = 128;

}  // namespace hearth::image
