#include "oci/read_ahead.hpp"

#include <gtest/gtest.h>

#include <atomic>

namespace hearth::oci {
namespace {

/// Numbers one after another; fails after `limit` bytes if told to.
class Numbers final : public ByteSource {
 public:
  Numbers(size_t limit, bool fails) : limit_(limit), fails_(fails) {}
  Result<size_t> read(char* to, size_t size) override {
    if (given_ == limit_ && fails_) return fail(ErrorCode::corrupt, "broken here");
    size_t count = std::min({size, size_t{4096}, limit_ - given_});
    for (size_t i = 0; i < count; ++i) to[i] = static_cast<char>((given_ + i) % 251);
    given_ += count;
    return count;
  }
  size_t given() const { return given_; }

 private:
  size_t limit_;
  bool fails_;
  std::atomic<size_t> given_ = 0;
};

TEST(ReadAhead, GivesTheSameBytesInTheSameOrder) {
  Numbers inner(3'000'001, false);
  ReadAhead ahead(inner);
  size_t at = 0;
  char buffer[10'007];
  for (;;) {
    const size_t got = ahead.read(buffer, sizeof buffer).value();
    if (got == 0) break;
    for (size_t i = 0; i < got; ++i) ASSERT_EQ(buffer[i], static_cast<char>((at + i) % 251));
    at += got;
  }
  EXPECT_EQ(at, 3'000'001u);
  EXPECT_EQ(ahead.read(buffer, 1).value(), 0u) << "the end stays the end";
}

TEST(ReadAhead, AnErrorComesAfterTheBytesBeforeIt) {
  Numbers inner(1'000'000, true);
  ReadAhead ahead(inner);
  std::string bytes(1'000'000, '\0');
  ASSERT_EQ(read_fully(ahead, bytes.data(), bytes.size()).value(), bytes.size());
  EXPECT_EQ(ahead.read(bytes.data(), 1).error().message, "broken here");
}

TEST(ReadAhead, StopsAtItsBoundWhenNobodyReadsAndEndsWhenDropped) {
  Numbers inner(size_t{1} << 40, false);
  {
    ReadAhead ahead(inner);
    char byte = 0;
    ASSERT_EQ(ahead.read(&byte, 1).value(), 1u);
  }
  EXPECT_LE(inner.given(), 20u * 256 * 1024);
}

}  // namespace
}  // namespace hearth::oci
