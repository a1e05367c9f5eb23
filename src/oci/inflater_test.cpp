// What holds for both inflaters, and for gzip whatever its pieces: the same bytes, the same refusals.
#include "oci/inflater.hpp"

#include "oci/decompress.hpp"
#include "oci/gzip_source.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>

namespace hearth::oci {
namespace {

std::string noise(size_t size, unsigned letters, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random() % letters);
  return bytes;
}

std::string gzip(std::string_view bytes, int level) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(::deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

/// Gives its bytes in pieces of one size.
class PiecewiseSource final : public ByteSource {
 public:
  PiecewiseSource(std::string_view bytes, size_t piece) : bytes_(bytes), piece_(piece) {}
  Result<size_t> read(char* to, size_t size) override {
    const size_t count = std::min({size, piece_, bytes_.size()});
    bytes_.copy(to, count);
    bytes_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view bytes_;
  size_t piece_;
};

struct Sizes {
  size_t in = 0;
  size_t out = 0;
};

Result<std::string> unzip(std::string_view bytes, InflaterKind kind, Sizes pieces) {
  PiecewiseSource source(bytes, pieces.in);
  GzipSource gzip(PeekedSource(source), make_inflater(kind));
  std::string plain;
  std::string buffer(pieces.out, '\0');
  for (;;) {
    TRY(const size_t got, gzip.read(buffer.data(), buffer.size()));
    if (got == 0) return plain;
    plain.append(buffer, 0, got);
  }
}

class GzipTest : public ::testing::TestWithParam<InflaterKind> {
 protected:
  void SetUp() override {
    if (GetParam() == InflaterKind::fastest && !make_isal_inflater()) GTEST_SKIP() << "built without ISA-L";
  }
};

TEST_P(GzipTest, GivesThePlainBytesHoweverTheyArrive) {
  const std::vector<std::string> plains = {"", "x", noise(300'000, 7, 1), noise(200'000, 256, 2),
                                           std::string(500'000, 'z') + noise(40'000, 200, 3)};
  for (const std::string& plain : plains) {
    for (const int level : {0, 1, 6, 9}) {
      const std::string packed = gzip(plain, level);
      for (const Sizes pieces : {Sizes{1, 300'000}, Sizes{7, 999}, Sizes{4096, 33'000}, Sizes{1 << 20, 1 << 20}}) {
        EXPECT_EQ(unzip(packed, GetParam(), pieces).value(), plain) << plain.size() << " level " << level;
      }
    }
  }
}

TEST_P(GzipTest, JoinsMembersWhereverTheyMeet) {
  // Ends of streams at every place of the bit buffer.
  std::string packed;
  std::string plain;
  for (uint32_t i = 0; i < 300; ++i) {
    const std::string member = noise(i * 3 % 97, 3 + i % 250, i);
    packed += gzip(member, static_cast<int>(i % 10));
    plain += member;
  }
  for (const Sizes pieces : {Sizes{1, 100}, Sizes{13, 100}, Sizes{1 << 20, 1 << 20}, Sizes{1 << 20, 3}})
    EXPECT_EQ(unzip(packed, GetParam(), pieces).value(), plain);
  EXPECT_EQ(unzip(packed + std::string(3000, '\0'), GetParam(), {100, 100}).value(), plain);
}

TEST_P(GzipTest, EveryCutIsNoticed) {
  const std::string packed = gzip(noise(2000, 20, 1), 6);
  for (size_t size = 0; size < packed.size(); ++size) {
    const auto plain = unzip(packed.substr(0, size), GetParam(), {1 << 20, 1 << 20});
    ASSERT_FALSE(plain) << size;
    EXPECT_EQ(plain.error().message, "the gzip stream is cut") << size;
  }
}

TEST_P(GzipTest, AFlippedBitIsNoticedOrChangesNothing) {
  const std::string plain = noise(700, 20, 1);
  const std::string packed = gzip(plain, 6);
  for (size_t i = 0; i < packed.size() * 8; ++i) {
    std::string damaged = packed;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    const auto result = unzip(damaged, GetParam(), {1 << 20, 1 << 20});
    if (result) EXPECT_EQ(*result, plain) << "bit " << i;
  }
}

TEST_P(GzipTest, ReadsEveryHeaderField) {
  const std::string plain = gzip("content", 6);
  std::string header("\x1f\x8b\x08\x1f\0\0\0\0\0\xff", 10);
  header += std::string("\x04\0ABCD", 6) + std::string("name\0", 5) + std::string("comment\0", 8);
  const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
  const std::string with_crc = header + static_cast<char>(crc & 0xFF) + static_cast<char>(crc >> 8 & 0xFF);
  EXPECT_EQ(unzip(with_crc + plain.substr(10), GetParam(), {3, 3}).value(), "content");
  const std::string wrong = header + static_cast<char>(~crc & 0xFF) + static_cast<char>(crc >> 8 & 0xFF);
  EXPECT_FALSE(unzip(wrong + plain.substr(10), GetParam(), {3, 3}));
}

INSTANTIATE_TEST_SUITE_P(Libraries, GzipTest, ::testing::Values(InflaterKind::zlib, InflaterKind::fastest),
                         [](const auto& param) { return param.param == InflaterKind::zlib ? "zlib" : "isal"; });

}  // namespace
}  // namespace hearth::oci
