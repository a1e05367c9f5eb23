// Makes tar archives byte by byte, good ones and bad ones, for tests: what a header says is up to the caller.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::image::testing {

/// Key and value of a PAX record, in order.
using PaxRecords = std::vector<std::pair<std::string, std::string>>;

/// One entry. Fields named raw_* replace what would be written into the header when not empty.
struct TarFields {
  std::string name;
  char type = '0';
  std::string link;
  std::string data;  // stored bytes
  uint32_t mode = 0644;
  uint64_t uid = 0;
  uint64_t gid = 0;
  int64_t mtime = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  PaxRecords pax;               // in an 'x' header before it
  bool gnu_long_names = false;  // 'L' and 'K' entries for name and link
  std::string prefix;           // ustar prefix field
  std::string magic = std::string("ustar\00000", 8);
  std::string raw_size, raw_uid, raw_gid, raw_mtime, raw_checksum;
  std::string raw_tail;  // bytes 345..511
};

class TarWriter {
 public:
  TarWriter& add(const TarFields& fields);
  TarWriter& file(std::string name, std::string data, uint32_t mode = 0644);
  TarWriter& directory(std::string name, uint32_t mode = 0755);
  TarWriter& symlink(std::string name, std::string target);
  TarWriter& hard_link(std::string name, std::string target);
  TarWriter& pax_global(const PaxRecords& records);
  /// Bytes as they are.
  TarWriter& raw(std::string_view bytes);

  /// With padding to 512 bytes after each entry and two zero blocks at the end.
  std::string finish() const { return bytes_ + std::string(1024, '\0'); }
  /// Without the end blocks.
  const std::string& bytes() const { return bytes_; }

 private:
  void header(const TarFields& fields, std::string_view name, std::string_view link, uint64_t size);
  void data(std::string_view bytes);

  std::string bytes_;
};

/// "LEN key=value\n" with the right length.
std::string pax_record(std::string_view key, std::string_view value);
/// A number of any sign in `width` bytes of base-256.
std::string base256(int64_t value, size_t width);

std::string gzip(std::string_view bytes);
std::string zstd(std::string_view bytes);

}  // namespace hearth::image::testing
