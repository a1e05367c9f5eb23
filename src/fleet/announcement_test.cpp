#include "fleet/announcement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::fleet {
namespace {

using testing::HasSubstr;

NodeAnnouncement example() {
  return {
      .node_id = "n1",
      .address = "/run/hearth/node.sock",
      .capacity = {.cpu = 2.5, .memory_bytes = uint64_t{1} << 40},
      .replicas =
          {{.workspace = "default", .model = "digits", .branch = "main", .version = 3, .state = "ready", .slots = 2}},
      .generation = 1'795'354'000'000'000,
      .sequence = 7};
}

TEST(NodeAnnouncement, SurvivesItsTextForm) {
  auto read = announcement_from_json(to_json(example()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, example());
}

TEST(NodeAnnouncement, OfANewerNodeIsRead) {
  std::string json = to_json(example());
  json.insert(1, R"("gpus":[{"name":"a"}],)");
  EXPECT_TRUE(announcement_from_json(json));
}

TEST(NodeAnnouncement, ThatIsBrokenNamesWhatIsWrong) {
  EXPECT_FALSE(announcement_from_json(""));
  EXPECT_FALSE(announcement_from_json("[]"));
  EXPECT_THAT(announcement_from_json("{}").error().message, HasSubstr("replicas"));
  std::string json = to_json(example());
  auto with = [&json](std::string_view from, std::string_view to) {
    std::string changed = json;
    return changed.replace(changed.find(from), from.size(), to);
  };
  EXPECT_THAT(announcement_from_json(with("\"version\":3", "\"version\":-3")).error().message, HasSubstr("version"));
  EXPECT_THAT(announcement_from_json(with("\"slots\":2", "\"slots\":4294967296")).error().message, HasSubstr("slots"));
  EXPECT_THAT(announcement_from_json(with("\"state\":\"ready\"", "\"state\":1")).error().message, HasSubstr("state"));
  EXPECT_THAT(announcement_from_json(with("\"n1\"", "\"\"")).error().message, HasSubstr("node_id"));
}

}  // namespace
}  // namespace hearth::fleet
