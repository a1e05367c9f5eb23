// The part of TarReader that finds out how much content an entry has and where it goes: sizes and the four sparse
// formats.
#include "oci/tar_number.hpp"
#include "oci/tar_reader.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace hearth::oci {

namespace {

constexpr size_t kSparseFieldBytes = 12;
constexpr size_t kSparseInHeader = 4;
constexpr size_t kSparseInBlock = 21;
constexpr size_t kMaxMapNumberDigits = 20;

}  // namespace

Result<> TarReader::set_content(const TarHeader& header, TarEntry& entry) {
  const auto text = record("size");
  const auto stored = text ? parse_decimal(*text) : parse_header_number(header.field(124, 12));
  if (!stored) return corrupt("a size that is no number");
  if (*stored < 0) return corrupt("a negative size");
  const bool has_content = (!entry.hard_link && entry.type == FileType::regular) || header.type() == 'D';
  left_ = has_content ? static_cast<uint64_t>(*stored) : 0;
  padding_ = (kTarBlockBytes - left_ % kTarBlockBytes) % kTarBlockBytes;
  if (entry.hard_link || entry.type != FileType::regular) return {};
  TRY_VOID(set_sparse_map(header, entry));
  return check_segments(entry);
}

Result<> TarReader::set_sparse_map(const TarHeader& header, TarEntry& entry) {
  const auto real_size = [this](std::string_view key) -> Result<uint64_t> {
    const auto text = record(key);
    const auto value = text ? parse_decimal(*text) : std::nullopt;
    if (!value || *value < 0) return corrupt("a sparse file without a proper size");
    return static_cast<uint64_t>(*value);
  };
  if (header.type() == 'S') return read_old_gnu_map(header, entry);
  if (const auto major = record("GNU.sparse.major")) {
    if (*major != "1" || record("GNU.sparse.minor") != "0") {
      if (*major != "0") return corrupt("a sparse file of an unknown format");
    } else {
      TRY(entry.size, real_size("GNU.sparse.realsize"));
      return read_map_blocks(entry);
    }
  }
  if (const auto map = record("GNU.sparse.map")) {
    TRY(entry.size, real_size("GNU.sparse.size"));
    return parse_map_text(*map, entry);
  }
  if (!local_.sparse.empty() || record("GNU.sparse.size")) {
    TRY(entry.size, real_size("GNU.sparse.size"));
    for (const DataSegment& segment : local_.sparse) {
      TRY_VOID(add_segment(entry, static_cast<int64_t>(segment.offset), static_cast<int64_t>(segment.length)));
    }
    return {};
  }
  entry.size = left_;
  if (left_ > 0) entry.segments.push_back({0, left_});
  return {};
}

/// Four pieces in the header, then blocks of 21 as long as the last one says so.
Result<> TarReader::read_old_gnu_map(const TarHeader& header, TarEntry& entry) {
  const auto real_size = parse_header_number(header.field(483, kSparseFieldBytes));
  if (!real_size || *real_size < 0) return corrupt("a sparse file without a proper size");
  entry.size = static_cast<uint64_t>(*real_size);
  TarHeader block = header;
  size_t offset = 386;
  size_t pieces = kSparseInHeader;
  bool more = header.block[482] != '\0';
  for (;;) {
    for (size_t i = 0; i < pieces; ++i, offset += 2 * kSparseFieldBytes) {
      if (block.block[offset] == '\0' && block.block[offset + kSparseFieldBytes] == '\0') break;  // unused
      TRY_VOID(add_segment(entry, parse_header_number(block.field(offset, kSparseFieldBytes)),
                           parse_header_number(block.field(offset + kSparseFieldBytes, kSparseFieldBytes))));
    }
    if (!more) return {};
    TRY(const size_t got, read_block(block.block));
    if (got < kTarBlockBytes) return corrupt("the archive is cut inside a sparse map");
    more = block.block[504] != '\0';
    offset = 0;
    pieces = kSparseInBlock;
  }
}

/// Format 0.1: "offset,length,offset,length".
Result<> TarReader::parse_map_text(std::string_view text, TarEntry& entry) const {
  const auto take = [&text]() {
    const size_t comma = std::min(text.find(','), text.size());
    const auto number = parse_decimal(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    return number;
  };
  while (!text.empty()) {
    const auto offset = take();
    if (text.empty()) return corrupt("a sparse map with an offset but no length");
    const auto length = take();
    TRY_VOID(add_segment(entry, offset, length));
  }
  return {};
}

/// Format 1.0: the map lies in front of the data, as decimal lines in whole blocks.
Result<> TarReader::read_map_blocks(TarEntry& entry) {
  std::string lines;
  size_t at = 0;
  const auto take = [this, &lines, &at]() -> Result<int64_t> {
    size_t end = lines.find('\n', at);
    while (end == std::string::npos) {
      if (lines.size() - at > kMaxMapNumberDigits || left_ < kTarBlockBytes) return corrupt("a damaged sparse map");
      lines.erase(0, at);
      at = 0;
      std::array<char, kTarBlockBytes> block{};
      TRY(const size_t got, read_block(block));
      if (got < block.size()) return corrupt("the archive is cut inside a sparse map");
      left_ -= got;
      lines.append(block.data(), block.size());
      end = lines.find('\n');
    }
    const auto number = parse_decimal(std::string_view(lines).substr(at, end - at));
    if (!number) return corrupt("a sparse map that is no number");
    at = end + 1;
    return *number;
  };
  TRY(const int64_t count, take());
  if (count < 0 || count > int64_t{limits_.segments}) {
    return fail(ErrorCode::exhausted, "a sparse file with too many pieces in the archive");
  }
  for (int64_t i = 0; i < count; ++i) {
    TRY(const int64_t offset, take());
    TRY(const int64_t length, take());
    TRY_VOID(add_segment(entry, offset, length));
  }
  return {};
}

Result<> TarReader::add_segment(TarEntry& entry, std::optional<int64_t> offset, std::optional<int64_t> length) const {
  if (!offset || !length || *offset < 0 || *length < 0) return corrupt("a sparse map that is no number");
  const auto begin = static_cast<uint64_t>(*offset);
  const auto bytes = static_cast<uint64_t>(*length);
  if (begin > entry.size || bytes > entry.size - begin) return corrupt("a sparse map beyond the end of its file");
  if (bytes == 0) return {};  // marks the end of a file that ends with a hole
  if (!entry.segments.empty()) {
    DataSegment& last = entry.segments.back();
    if (begin < last.offset + last.length) return corrupt("a sparse map whose pieces overlap");
    if (begin == last.offset + last.length) {
      last.length += bytes;
      return {};
    }
  }
  if (entry.segments.size() >= limits_.segments) {
    return fail(ErrorCode::exhausted, "a sparse file with too many pieces in the archive");
  }
  entry.segments.push_back({begin, bytes});
  return {};
}

Result<> TarReader::check_segments(TarEntry& entry) const {
  if (entry.size > limits_.file_bytes) {
    return fail(ErrorCode::exhausted, "archive entry '" + printable(entry.path) + "' is " + std::to_string(entry.size) +
                                          " bytes large, more than the limit of " + std::to_string(limits_.file_bytes));
  }
  uint64_t total = 0;
  for (const DataSegment& segment : entry.segments) total += segment.length;
  if (total != left_) return corrupt("a sparse map that does not match the stored size");
  return {};
}

}  // namespace hearth::oci
