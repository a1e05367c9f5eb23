#include "base/encoding.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(PercentEncoding, KeepsUnreservedCharactersAlone) {
  EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(percent_encode("a b/+=:&?#%"), "a%20b%2F%2B%3D%3A%26%3F%23%25");
  EXPECT_EQ(percent_encode("a b/c", Slash::keep), "a%20b/c");
  EXPECT_EQ(percent_encode("\xC3\xBC"), "%C3%BC");
}

TEST(PercentEncoding, DecodesWhatItEncodes) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_decode("%c3%bC"), "\xC3\xBC");
  EXPECT_EQ(percent_decode("100%"), "100%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz+"), "%zz+");
}

TEST(Base64Url, MatchesTheVectorsOfRfc4648WithoutPadding) {
  EXPECT_EQ(base64url_encode(""), "");
  EXPECT_EQ(base64url_encode("f"), "Zg");
  EXPECT_EQ(base64url_encode("fo"), "Zm8");
  EXPECT_EQ(base64url_encode("foo"), "Zm9v");
  EXPECT_EQ(base64url_encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64url_encode("\xFB\xFF\xFE"), "-__-");
}

}  // namespace
}  // namespace hearth
