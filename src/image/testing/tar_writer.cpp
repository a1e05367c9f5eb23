#include "image/testing/tar_writer.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>

namespace hearth::image::testing {

namespace {

constexpr size_t kBlock = 512;

std::string octal(uint64_t value, size_t digits) {
  std::string text;
  for (size_t i = 0; i < digits; ++i, value /= 8) text.insert(0, 1, static_cast<char>('0' + value % 8));
  return text;
}

/// Octal where it fits, base-256 where it does not, as GNU tar does.
std::string number(int64_t value, size_t width) {
  const uint64_t limit = uint64_t{1} << (3 * (width - 1));
  if (value < 0 || static_cast<uint64_t>(value) >= limit) return base256(value, width);
  return octal(static_cast<uint64_t>(value), width - 1) + '\0';
}

}  // namespace

std::string base256(int64_t value, size_t width) {
  std::string bytes(width, value < 0 ? '\xff' : '\0');
  auto rest = static_cast<uint64_t>(value);
  for (size_t i = width; i > 0 && width - i < 8; --i, rest >>= 8u) bytes[i - 1] = static_cast<char>(rest & 0xffu);
  bytes[0] = static_cast<char>(static_cast<unsigned char>(bytes[0]) | 0x80u);
  return bytes;
}

std::string pax_record(std::string_view key, std::string_view value) {
  const size_t body = key.size() + value.size() + 3;  // blank, '=', newline
  size_t length = body + 1;
  while (length != body + std::to_string(length).size()) ++length;
  return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
}

void TarWriter::header(const TarFields& fields, std::string_view name, std::string_view link, uint64_t size) {
  std::string block(kBlock, '\0');
  const auto put = [&block](size_t at, std::string_view text, size_t limit) {
    block.replace(at, std::min(text.size(), limit), text.substr(0, limit));
  };
  put(0, name, 100);
  put(100, octal(fields.mode, 7), 8);
  put(108, fields.raw_uid.empty() ? number(static_cast<int64_t>(fields.uid), 8) : fields.raw_uid, 8);
  put(116, fields.raw_gid.empty() ? number(static_cast<int64_t>(fields.gid), 8) : fields.raw_gid, 8);
  put(124, fields.raw_size.empty() ? number(static_cast<int64_t>(size), 12) : fields.raw_size, 12);
  put(136, fields.raw_mtime.empty() ? number(fields.mtime, 12) : fields.raw_mtime, 12);
  block[156] = fields.type;
  put(157, link, 100);
  put(257, fields.magic, 8);
  put(329, number(fields.major, 8), 8);
  put(337, number(fields.minor, 8), 8);
  put(345, fields.prefix, 155);
  if (!fields.raw_tail.empty()) put(345, fields.raw_tail, kBlock - 345);
  block.replace(148, 8, "        ");
  uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(148, fields.raw_checksum.empty() ? octal(sum, 6) + std::string("\0 ", 2) : fields.raw_checksum, 8);
  bytes_ += block;
}

void TarWriter::data(std::string_view bytes) {
  bytes_ += bytes;
  bytes_.append((kBlock - bytes.size() % kBlock) % kBlock, '\0');
}

TarWriter& TarWriter::add(const TarFields& fields) {
  if (!fields.pax.empty()) {
    std::string records;
    for (const auto& [key, value] : fields.pax) records += pax_record(key, value);
    header({.type = 'x'}, "PaxHeaders/x", "", records.size());
    data(records);
  }
  if (fields.gnu_long_names) {
    for (const auto& [type, text] : {std::pair{'L', fields.name}, {'K', fields.link}}) {
      if (text.empty()) continue;
      header({.type = type}, "././@LongLink", "", text.size() + 1);
      data(text + std::string(1, '\0'));
    }
  }
  header(fields, fields.name, fields.link, fields.data.size());
  data(fields.data);
  return *this;
}

TarWriter& TarWriter::file(std::string name, std::string content, uint32_t mode) {
  return add({.name = std::move(name), .data = std::move(content), .mode = mode});
}

TarWriter& TarWriter::directory(std::string name, uint32_t mode) {
  return add({.name = std::move(name), .type = '5', .mode = mode});
}

TarWriter& TarWriter::symlink(std::string name, std::string target) {
  return add({.name = std::move(name), .type = '2', .link = std::move(target), .mode = 0777});
}

TarWriter& TarWriter::hard_link(std::string name, std::string target) {
  return add({.name = std::move(name), .type = '1', .link = std::move(target)});
}

TarWriter& TarWriter::pax_global(const PaxRecords& records) {
  std::string text;
  for (const auto& [key, value] : records) text += pax_record(key, value);
  header({.type = 'g'}, "pax_global_header", "", text.size());
  data(text);
  return *this;
}

TarWriter& TarWriter::raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::string out(::deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (::deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view bytes) {
  std::string out(::ZSTD_compressBound(bytes.size()), '\0');
  out.resize(::ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

}  // namespace hearth::image::testing
