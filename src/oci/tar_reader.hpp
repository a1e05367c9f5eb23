// Reads a layer's tar as a stream: ustar, GNU, PAX and star headers, every way of writing a sparse file, times to the
// nanosecond. Why not libarchive: docs/layers.md.
#pragma once

#include "base/result.hpp"
#include "oci/byte_source.hpp"
#include "oci/file_metadata.hpp"
#include "oci/tar_header.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::oci {

/// A run of stored bytes and where in the file it belongs.
struct DataSegment {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool operator==(const DataSegment&) const = default;
};

struct TarEntry {
  std::string path;  // as in the archive: may be absolute or contain "..", never empty, no zero byte
  FileType type = FileType::regular;
  bool hard_link = false;  // one more name for the entry at `link`; type and the rest mean nothing then
  std::string link;        // symlink target or path of the hard link's other name
  FileAttributes attributes;
  Device device;
  uint64_t size = 0;                  // of the file, holes included
  std::vector<DataSegment> segments;  // regular files: ascending, no overlap, none empty, inside `size`
};

struct TarLimits {
  uint64_t entries = 4'000'000;
  uint64_t file_bytes = uint64_t{8} << 40;  // apparent size of one file
  uint64_t extended_bytes = 8u << 20;       // one PAX header
  uint32_t extended_records = 200'000;      // records of one PAX header
  uint32_t xattrs = 1'000;                  // of one entry
  uint32_t segments = 1'000'000;            // of one sparse file
};

/// One pass, one thread. Errors: corrupt (not a tar, damaged, cut, impossible numbers), invalid_argument (entry kinds
/// that have no place in a layer), exhausted (a limit), and those of the source.
class TarReader {
 public:
  explicit TarReader(ByteSource& source, TarLimits limits = {}) : source_(source), limits_(limits) {}

  /// The next entry, its content not yet read (what is left of the previous one is skipped); nullopt at the end, after
  /// the source has been read to its end.
  Result<std::optional<TarEntry>> next();
  /// Stored bytes of the current entry, segment after segment; 0 when there are no more.
  Result<size_t> read(char* to, size_t size);

  uint64_t entries() const { return entries_; }
  /// What was tolerated, one sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  using Records = std::map<std::string, std::string, std::less<>>;
  struct Extended {
    Records records;
    std::vector<DataSegment> sparse;  // GNU.sparse.offset and .numbytes of format 0.0, in order
    bool has_sparse_offset = false;
  };

  Result<size_t> read_block(std::array<char, kTarBlockBytes>& block);
  Result<bool> read_header(TarHeader& header);
  Result<> skip_rest();
  Result<> drain();
  Result<std::string> read_special(const TarHeader& header, uint64_t limit_bytes);
  Result<> parse_records(std::string_view bytes, Extended& into) const;
  Result<bool> take_special(const TarHeader& header);
  Result<TarEntry> make_entry(const TarHeader& header);
  Result<> set_kind(const TarHeader& header, TarEntry& entry) const;
  Result<> set_names(const TarHeader& header, TarEntry& entry) const;
  Result<> set_attributes(const TarHeader& header, TarEntry& entry) const;
  Result<> set_xattrs(TarEntry& entry) const;
  Result<> set_content(const TarHeader& header, TarEntry& entry);
  Result<> set_device(const TarHeader& header, TarEntry& entry) const;
  Result<> set_sparse_map(const TarHeader& header, TarEntry& entry);
  Result<> read_old_gnu_map(const TarHeader& header, TarEntry& entry);
  Result<> parse_map_text(std::string_view text, TarEntry& entry) const;
  Result<> read_map_blocks(TarEntry& entry);
  Result<> add_segment(TarEntry& entry, std::optional<int64_t> offset, std::optional<int64_t> length) const;
  Result<> check_segments(TarEntry& entry) const;
  std::optional<std::string_view> record(std::string_view key) const;
  Unexpected corrupt(std::string_view what) const;
  void note(std::string text);

  ByteSource& source_;
  TarLimits limits_;
  uint64_t at_ = 0;       // bytes read from the source
  uint64_t left_ = 0;     // stored bytes of the current entry not read yet
  uint64_t padding_ = 0;  // after them
  uint64_t entries_ = 0;
  bool ended_ = false;
  std::string current_;                   // name of the current entry, for messages
  Extended global_;                       // PAX 'g': until the next one
  uint64_t global_bytes_ = 0;             // of all global headers together
  Extended local_;                        // PAX 'x': for the next entry
  std::optional<std::string> long_name_;  // GNU 'L'
  std::optional<std::string> long_link_;  // GNU 'K'
  std::vector<std::string> notes_;
};

}  // namespace hearth::oci
