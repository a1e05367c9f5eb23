#include "base/digest.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

constexpr std::string_view kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Digest, MatchesThePublishedVector) {
  EXPECT_EQ(Digest::of("abc").hex(), kAbc);
}

TEST(Digest, ReadsBothWrittenForms) {
  EXPECT_EQ(Digest::parse(kAbc).value(), Digest::of("abc"));
  EXPECT_EQ(Digest::parse("sha256:" + std::string(kAbc)).value(), Digest::of("abc"));
}

TEST(Digest, RefusesEverythingElse) {
  for (std::string bad : {std::string(), std::string("sha256:"), std::string(64, 'g'), std::string(64, 'A'),
                          "md5:" + std::string(kAbc), std::string(kAbc) + "0"}) {
    EXPECT_FALSE(Digest::parse(bad)) << bad;
  }
}

TEST(DigestHasher, StartsAfreshAfterFinish) {
  DigestHasher hasher;
  hasher.update("x");
  (void)hasher.finish();
  hasher.update("a");
  hasher.update("bc");
  EXPECT_EQ(hasher.finish().hex(), kAbc);
}

}  // namespace
}  // namespace hearth
