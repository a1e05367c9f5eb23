#include "catalog/names.hpp"

#include <gtest/gtest.h>

#include <array>

namespace hearth::catalog {
namespace {

TEST(Names, ModelNamesAreLowerCaseAndNotReserved) {
  for (std::string_view good : {"digits", "a", "0", "my-model_2.1"}) EXPECT_TRUE(check_model_name(good)) << good;
  for (std::string_view bad :
       {"", "Digits", "-a", ".a", "a/b", "a b", "é", "models", "chat", "completions", "embeddings", "..", "a\n"}) {
    EXPECT_FALSE(check_model_name(bad)) << bad;
  }
  EXPECT_FALSE(check_model_name(std::string(64, 'a')));
}

TEST(Names, BranchesMayHaveParts) {
  for (std::string_view good : {"main", "team/try-1", "Feature/JIRA-12", "a/b/c"})
    EXPECT_TRUE(check_branch_name(good)) << good;
  for (std::string_view bad : {"", "/a", "a/", "a//b", "a/../b", "a~b", "a b"})
    EXPECT_FALSE(check_branch_name(bad)) << bad;
}

TEST(Names, ABranchIsOneSegmentInKeysAndComesBack) {
  EXPECT_EQ(branch_to_segment("team/try"), "team~try");
  EXPECT_EQ(branch_from_segment("team~try"), "team/try");
}

TEST(Names, AnAliasIsNoNumberAndNotLatest) {
  EXPECT_TRUE(check_alias_name("prod"));
  EXPECT_TRUE(check_alias_name("2024-11"));
  EXPECT_FALSE(check_alias_name("17"));
  EXPECT_FALSE(check_alias_name("latest"));
  EXPECT_FALSE(check_alias_name("a/b"));
}

TEST(Names, VersionNumbersCountFromOne) {
  EXPECT_EQ(parse_version_number("17"), 17u);
  EXPECT_EQ(parse_version_number("4294967295"), 4294967295u);
  for (std::string_view bad : {"", "0", "01", "-1", "4294967296", "99999999999", "1a"}) {
    EXPECT_FALSE(parse_version_number(bad)) << bad;
  }
}

TEST(Names, TheNearestNameIsTheOneThatWasMeant) {
  const std::array<std::string_view, 3> known = {"name", "handler", "setup"};
  EXPECT_EQ(nearest_name("nmae", known), "name");
  EXPECT_EQ(nearest_name("handlers", known), "handler");
  EXPECT_EQ(nearest_name("zzzzzzzzzzzz", known), "");
}

}  // namespace
}  // namespace hearth::catalog
