#include "blob/signed_url.hpp"

#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

TEST(SignedUrl, IsWhatAnyHmacToolComputes) {
  // printf '/packs/ab\n1767225600' | openssl dgst -sha256 -hmac 'key'
  EXPECT_EQ(signed_url_query("key", "/packs/ab", 1767225600),
            "expires=1767225600&signature=73a0e82d1246d14690caa6957f8af587446fd5f5230140d418a3f76d45343788");
}

TEST(SignedUrl, StaysTheSameForAWhileAndIsGoodLongEnough) {
  const WallTime start{std::chrono::seconds(1'767'225'600)};
  EXPECT_EQ(signed_url_expiry(start), 1'767'226'500);
  EXPECT_EQ(signed_url_expiry(start + std::chrono::seconds(1)), 1'767'226'800);
  EXPECT_EQ(signed_url_expiry(start + std::chrono::seconds(300)), 1'767'226'800);
  for (int second = 0; second < 700; ++second) {
    const WallTime now = start + std::chrono::seconds(second);
    const int64_t left = signed_url_expiry(now) - (1'767'225'600 + second);
    EXPECT_GE(left, kSignedUrlLife.count());
    EXPECT_LT(left, (kSignedUrlLife + kSignedUrlStep).count());
  }
}

TEST(SignedUrl, AnotherPathTimeOrSecretHasAnotherSignature) {
  const std::string one = signed_url_query("key", "/a", 1000);
  EXPECT_NE(one, signed_url_query("key", "/b", 1000));
  EXPECT_NE(one, signed_url_query("key", "/a", 1001));
  EXPECT_NE(one, signed_url_query("kez", "/a", 1000));
}

}  // namespace
}  // namespace hearth::blob
