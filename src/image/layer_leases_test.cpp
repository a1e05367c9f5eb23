#include "image/layer_leases.hpp"

#include "blob/simulated_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace hearth::image {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const Digest kFirst = Digest::of("first");
const Digest kSecond = Digest::of("second");

class LayerLeasesTest : public ::testing::Test {
 protected:
  Leases read(const std::string& workspace = "w", WallTime now = wall_now()) {
    return read_leases(*store_, workspace, now).value();
  }
  size_t records() { return store_->list("ws/w/leases/").value().size(); }

  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
};

TEST_F(LayerLeasesTest, SayWhatIsMountedByWorkspace) {
  LayerLeases leases(store_, {.holder = "node one"});
  leases.add("w", kFirst);
  leases.add("w", kSecond);
  leases.add("v", kSecond);
  ASSERT_TRUE(leases.flush({}));
  EXPECT_THAT(read().layers, UnorderedElementsAre(kFirst, kSecond));
  EXPECT_THAT(read("v").layers, ElementsAre(kSecond));
  EXPECT_THAT(store_->list("ws/v/leases/node-one-").value(), SizeIs(1));
}

TEST_F(LayerLeasesTest, OutliveTheirProcessUntilTheyAreVoid) {
  {
    LayerLeases leases(store_, {.holder = "n"});
    leases.add("w", kFirst);
    ASSERT_TRUE(leases.flush({}));
  }
  EXPECT_THAT(read("w", wall_now() + kLeaseLife - minutes(1)).layers, ElementsAre(kFirst));
  EXPECT_THAT(read("w", wall_now() + kLeaseLife).layers, IsEmpty());
  EXPECT_THAT(read("w", wall_now() + kLeaseLife).void_records, SizeIs(1));
}

TEST_F(LayerLeasesTest, EndWithTheLastMount) {
  LayerLeases leases(store_, {.holder = "n"});
  leases.add("w", kFirst);
  leases.add("w", kFirst);
  ASSERT_TRUE(leases.flush({}));
  leases.remove("w", kFirst);
  ASSERT_TRUE(leases.flush({}));
  EXPECT_THAT(read().layers, ElementsAre(kFirst)) << "mounted twice, unmounted once";
  leases.remove("w", kFirst);
  ASSERT_TRUE(leases.flush({}));
  leases.add("w", kSecond);
  ASSERT_TRUE(leases.flush({}));
  EXPECT_THAT(read().layers, ElementsAre(kSecond));
  leases.remove("w", Digest::of("never added"));
}

/// A listing is no moment in time: it may miss a record that comes while it runs, so the one before must still be
/// there.
TEST_F(LayerLeasesTest, KeepTheRecordBeforeTheLast) {
  LayerLeases leases(store_, {.holder = "n"});
  for (const Digest& layer : {kFirst, kSecond, Digest::of("third")}) {
    leases.add("w", layer);
    ASSERT_TRUE(leases.flush({}));
  }
  EXPECT_EQ(records(), 2U);
}

TEST_F(LayerLeasesTest, AreRenewed) {
  LayerLeases leases(store_, {.holder = "n", .renew_every = milliseconds(1)});
  leases.add("w", kFirst);
  const auto renewals = [this] {
    return std::ranges::count(store_->events(), blob::SimulatedStore::Call::create, &blob::SimulatedStore::Event::call);
  };
  while (renewals() < 5) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_THAT(read().layers, ElementsAre(kFirst));
}

TEST_F(LayerLeasesTest, LastAsLongAsTheirHandle) {
  const auto leases = std::make_shared<LayerLeases>(store_, LeaseOptions{.holder = "n"});
  auto handle = leases->hold("w", kFirst);
  ASSERT_TRUE(leases->flush({}));
  EXPECT_THAT(read().layers, ElementsAre(kFirst));
  handle.reset();
  auto other = leases->hold("w", kSecond);
  ASSERT_TRUE(leases->flush({}));
  auto third = leases->hold("w", Digest::of("third"));
  ASSERT_TRUE(leases->flush({}));
  EXPECT_THAT(read().layers, UnorderedElementsAre(kSecond, Digest::of("third")));
}

TEST_F(LayerLeasesTest, KnowWhichLayersOnlyTheyKeep) {
  const std::vector<std::string> garbage{"ws/w/layers/" + kFirst.hex(), "ws/w/packs/" + kSecond.hex()};
  store_->objects()[blob::objects_key("ws/w", "m", 0)] = blob::objects_record_json("ws/w", wall_now(), garbage);
  LayerLeases leases(store_, {.holder = "n", .look_every = milliseconds(1)});
  leases.add("w", kFirst);
  leases.add("w", kSecond);
  while (!leases.is_wanted_back(kFirst)) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_FALSE(leases.is_wanted_back(kSecond)) << "a pack of that name is condemned, no layer";
}

TEST_F(LayerLeasesTest, DoNotHoldUpWhoeverMountsWhileTheStoreIsAway) {
  store_->before = [](const auto&) { return fail(ErrorCode::unavailable, "away"); };
  LayerLeases leases(store_, {.holder = "n"});
  leases.add("w", kFirst);
  EXPECT_FALSE(leases.flush(Deadline::after(mono_now(), milliseconds(1))));
}

TEST_F(LayerLeasesTest, ARecordThatCannotBeReadIsAnError) {
  for (const char* text :
       {"", "{}", R"({"format":2,"at":"2026-11-22T13:00:00Z","layers":[]})", R"({"format":1,"at":"","layers":[]})",
        R"({"format":1,"at":"2026-11-22T13:00:00Z"})", R"({"format":1,"at":"2026-11-22T13:00:00Z","layers":["x"]})"}) {
    EXPECT_EQ(parse_lease_record(text).error().code, ErrorCode::corrupt) << text;
  }
  store_->objects()["ws/w/leases/n/0"] = "{}";
  EXPECT_EQ(read_leases(*store_, "w", wall_now()).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hearth::image
