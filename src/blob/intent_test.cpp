#include "blob/intent.hpp"

#include "blob/simulated_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace hearth::blob {
namespace {

using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const std::string kPack = "ws/w/packs/p";
const std::string kLayer = "ws/w/layers/l";
const std::string kShared = "shared/packs/s";

class IntentTest : public ::testing::Test {
 protected:
  Timekeeper time() {
    return {.wall = [this] { return wall_; },
            .mono = [this] { return mono_; },
            .pause =
                [this](Duration duration) {
                  pass(duration);
                  if (on_pause_) on_pause_();
                }};
  }
  void pass(Duration duration) {
    mono_ += duration;
    wall_ += std::chrono::duration_cast<WallTime::duration>(duration);
  }
  std::shared_ptr<Intent> begin() {
    return Intent::begin(store_, {.workspace = "w", .owner = "test", .renew_every = Duration::zero(), .time = time()})
        .value();
  }
  void put(const std::string& key, std::string bytes = "bytes") { store_->objects()[key] = std::move(bytes); }
  void condemn(const std::string& mark, const std::string& scope, const std::vector<std::string>& objects) {
    put(objects_key(scope, mark, 0), objects_record_json(scope, wall_, objects));
    put(seen_key(scope, mark), seen_record_json({}));
  }
  void begin_deletion(const std::string& mark, const std::string& scope, const std::string& run) {
    put(deletion_key(scope, mark, run, 0), deletion_record_json(wall_));
  }
  void remove_all(const std::string& prefix) {
    std::erase_if(store_->objects(), [&prefix](const auto& item) { return item.first.starts_with(prefix); });
  }
  std::vector<IntentState> intents() { return read_intents(*store_, "w").value(); }

  std::shared_ptr<SimulatedStore> store_ = std::make_shared<SimulatedStore>();
  WallTime wall_ = WallTime(std::chrono::hours(500'000));
  MonoTime mono_{std::chrono::hours(5)};
  std::function<void()> on_pause_;
};

TEST_F(IntentTest, StandsInTheStoreFromItsBeginToItsEnd) {
  {
    const auto intent = begin();
    ASSERT_THAT(intents(), SizeIs(1));
    EXPECT_EQ(intents()[0].id, intent->id());
    EXPECT_EQ(intents()[0].owner, "test");
    EXPECT_TRUE(intents()[0].alive(wall_));
  }
  EXPECT_THAT(store_->objects(), IsEmpty());
}

TEST_F(IntentTest, SaysThatItIsThereBeforeItLooksAtWhatIsCondemned) {
  const auto intent = begin();
  const auto events = store_->events();
  ASSERT_GE(events.size(), 3U);
  EXPECT_EQ(events[0], (SimulatedStore::Event{SimulatedStore::Call::create, "ws/w/intents/" + intent->id() + "/0"}));
  EXPECT_EQ(events[1], (SimulatedStore::Event{SimulatedStore::Call::list, "ws/w/condemned/"}));
  EXPECT_EQ(events[2], (SimulatedStore::Event{SimulatedStore::Call::list, "shared/condemned/"}));
}

TEST_F(IntentTest, KeepsWhatNobodyCondemnedWithoutAskingTheStore) {
  condemn("m", "ws/w", {kPack});
  const auto intent = begin();
  const size_t before = store_->events().size();
  EXPECT_TRUE(intent->keep(kLayer).value());
  EXPECT_EQ(store_->events().size(), before);
}

TEST_F(IntentTest, ClaimsWhatIsCondemned) {
  put(kPack);
  put(kShared);
  condemn("m", "ws/w", {kPack});
  condemn("n", "shared", {kShared});
  const auto intent = begin();
  EXPECT_THAT(intent->keep(std::vector{kPack, kLayer, kShared}).value(), IsEmpty());
  EXPECT_THAT(intents()[0].keeps, UnorderedElementsAre(kPack, kShared));
}

TEST_F(IntentTest, LooksForDeletionsOnlyAfterItsClaimStands) {
  put(kPack);
  condemn("m", "ws/w", {kPack});
  const auto intent = begin();
  const size_t before = store_->events().size();
  ASSERT_TRUE(intent->keep(kPack).value());
  const auto events = store_->events();
  ASSERT_EQ(events.size(), before + 3);
  EXPECT_EQ(events[before].call, SimulatedStore::Call::create);
  EXPECT_EQ(events[before + 1], (SimulatedStore::Event{SimulatedStore::Call::list, "ws/w/condemned/m/delete-"}));
  EXPECT_EQ(events[before + 2], (SimulatedStore::Event{SimulatedStore::Call::size, kPack}));
}

TEST_F(IntentTest, NamesWhatWasDeletedMeanwhile) {
  condemn("m", "ws/w", {kPack, kLayer});
  put(kLayer);
  const auto intent = begin();
  EXPECT_THAT(intent->keep(std::vector{kPack, kLayer}).value(), ElementsAre(kPack));
}

TEST_F(IntentTest, WaitsWhileItsObjectIsBeingDeleted) {
  put(kPack);
  condemn("m", "ws/w", {kPack});
  begin_deletion("m", "ws/w", "run");
  int pauses = 0;
  on_pause_ = [&] {
    if (++pauses < 3) return;
    store_->objects().erase(kPack);
    remove_all("ws/w/condemned/");
  };
  const auto intent = begin();
  EXPECT_FALSE(intent->keep(kPack).value());
  EXPECT_EQ(pauses, 3);
}

TEST_F(IntentTest, WaitsForADeletionThatBeganAfterItDid) {
  put(kPack);
  condemn("m", "ws/w", {kPack});
  const auto intent = begin();
  begin_deletion("m", "ws/w", "run");
  on_pause_ = [&] { remove_all("ws/w/condemned/m/delete-"); };
  EXPECT_TRUE(intent->keep(kPack).value()) << "the collector saw the claim and spared it";
}

TEST_F(IntentTest, MakesAgainWhatADeletionTookRightAfterItWasMade) {
  condemn("m", "ws/w", {kPack});
  begin_deletion("m", "ws/w", "run");
  const auto intent = begin();
  on_pause_ = [&] {
    store_->objects().erase(kPack);  // the deletion, tried once more
    remove_all("ws/w/condemned/");
  };
  EXPECT_EQ(intent->create(kPack, "new").value(), Created::yes);
  EXPECT_EQ(store_->objects()[kPack], "new");
}

TEST_F(IntentTest, LeavesAnObjectThatWasThereAsItIs) {
  put(kPack, "old");
  condemn("m", "ws/w", {kPack});
  const auto intent = begin();
  EXPECT_EQ(intent->create(kPack, "new").value(), Created::no);
  EXPECT_EQ(store_->objects()[kPack], "old");
  EXPECT_THAT(intents()[0].keeps, ElementsAre(kPack));
}

TEST_F(IntentTest, TakesEverythingOfTheScopeForCondemnedWhileADeletionGoesOnWhoseListIsGone) {
  put(kPack);
  begin_deletion("m", "ws/w", "run");
  const auto intent = begin();
  on_pause_ = [&] { remove_all("ws/w/condemned/"); };
  EXPECT_TRUE(intent->keep(kPack).value());
  EXPECT_THAT(intents()[0].keeps, ElementsAre(kPack));
  EXPECT_TRUE(intent->keep(kShared).value()) << "another scope";
}

TEST_F(IntentTest, DoesNotWaitForADeadDeletion) {
  put(kPack);
  condemn("m", "ws/w", {kPack});
  begin_deletion("m", "ws/w", "run");
  pass(kDeletionLife);
  const auto intent = begin();
  on_pause_ = [] { FAIL() << "there is nothing to wait for"; };
  EXPECT_TRUE(intent->keep(kPack).value());
}

TEST_F(IntentTest, DoesNotWaitForEver) {
  put(kPack);
  condemn("m", "ws/w", {kPack});
  const auto intent = begin();
  int renewals = 0;
  on_pause_ = [&] {
    put(deletion_key("ws/w", "m", "run", static_cast<size_t>(++renewals)), deletion_record_json(wall_));
  };
  begin_deletion("m", "ws/w", "run");
  EXPECT_EQ(intent->keep(kPack).error().code, ErrorCode::unavailable);
}

TEST_F(IntentTest, IsGoodForAsLongAsItIsRenewed) {
  const auto intent = begin();
  pass(kIntentTrusted - minutes(1));
  EXPECT_TRUE(intent->check());
  ASSERT_TRUE(intent->renew());
  pass(kIntentTrusted - minutes(1));
  EXPECT_TRUE(intent->check());
  EXPECT_TRUE(intents()[0].alive(wall_));
  pass(minutes(1));
  EXPECT_EQ(intent->check().error().code, ErrorCode::unavailable);
  EXPECT_EQ(intent->keep(kPack).error().code, ErrorCode::unavailable);
  EXPECT_EQ(intent->create(kLayer, "index").error().code, ErrorCode::unavailable);
  EXPECT_FALSE(store_->objects().contains(kLayer)) << "it may name packs that are gone";
  EXPECT_TRUE(intents()[0].alive(wall_)) << "it stops long before others take it for dead";
}

TEST_F(IntentTest, DoesNotTrustAClockThatJumped) {
  const auto intent = begin();
  wall_ -= minutes(31);
  EXPECT_FALSE(intent->check());
  wall_ += minutes(62);
  EXPECT_FALSE(intent->check()) << "the machine slept: its monotonic clock stood still";
}

TEST_F(IntentTest, ARenewalThatFailsIsNone) {
  const auto intent = begin();
  pass(minutes(20));
  store_->before = [](const auto&) { return fail(ErrorCode::unavailable, "away"); };
  EXPECT_FALSE(intent->renew());
  pass(minutes(10));
  EXPECT_FALSE(intent->check());
  store_->before = nullptr;
}

TEST_F(IntentTest, LapsesWhenItsWriterDies) {
  const auto intent = begin();
  pass(kIntentLife);
  EXPECT_FALSE(intents()[0].alive(wall_));
}

TEST_F(IntentTest, CanBeEndedByAnotherProcess) {
  std::string id;
  {
    put(kPack);
    condemn("m", "ws/w", {kPack});
    const auto intent = begin();
    ASSERT_TRUE(intent->keep(kPack).value());
    id = intent->id();
    ASSERT_TRUE(intent->hand_over());
  }
  ASSERT_THAT(intents(), SizeIs(1));
  EXPECT_THAT(intents()[0].keeps, ElementsAre(kPack));
  EXPECT_FALSE(end_intent(*store_, "w", "../x"));
  EXPECT_FALSE(end_intent(*store_, "w", ""));
  ASSERT_TRUE(end_intent(*store_, "w", id));
  EXPECT_THAT(intents(), IsEmpty());
}

TEST_F(IntentTest, RenewsItself) {
  const auto intent =
      Intent::begin(store_, {.workspace = "w", .owner = "test", .renew_every = milliseconds(1)}).value();
  const auto renewals = [this] {
    return std::ranges::count(store_->events(), SimulatedStore::Call::create, &SimulatedStore::Event::call);
  };
  while (renewals() < 5) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(intent->check());
}

TEST_F(IntentTest, BeginsNothingWhenTheStoreIsAway) {
  store_->before = [](const auto&) { return fail(ErrorCode::unavailable, "away"); };
  EXPECT_EQ(Intent::begin(store_, {.workspace = "w"}).error().code, ErrorCode::unavailable);
}

TEST(Keeping, ReadsRecordsThatGoAwayAgain) {
  SimulatedStore store;
  store.objects()["ws/w/intents/a/0"] = intent_record_json({WallTime(), "x", {}});
  store.objects()["ws/w/intents/b/0"] = intent_record_json({WallTime(), "y", {"k"}});
  bool once = true;
  store.before = [&](const SimulatedStore::Event& event) -> Result<> {
    if (event.key == "ws/w/intents/b/0" && std::exchange(once, false)) store.objects().erase("ws/w/intents/a/0");
    if (event.key == "ws/w/intents/b/0") store.objects().erase("ws/w/intents/b/0");
    return {};
  };
  EXPECT_THAT(read_intents(store, "w").value(), IsEmpty());
}

TEST(Keeping, RefusesRecordsItDoesNotUnderstand) {
  for (const char* text : {"", "[]", "{}", R"({"format":2,"at":"2026-11-22T13:00:00Z","owner":"","keeps":[]})",
                           R"({"format":1,"at":"yesterday","owner":"","keeps":[]})",
                           R"({"format":1,"at":"2026-11-22T13:00:00Z","owner":"","keeps":[1]})",
                           R"({"format":1,"at":"2026-11-22T13:00:00Z","keeps":[]})"}) {
    EXPECT_EQ(parse_intent_record(text).error().code, ErrorCode::corrupt) << text;
  }
  CondemnedMark mark{.scope = "shared", .id = "m"};
  EXPECT_EQ(add_mark_record(mark, "objects-0", R"({"format":1,"at":"2026-11-22T13:00:00Z"})").error().code,
            ErrorCode::corrupt);
  EXPECT_EQ(add_mark_record(mark, "seen", R"({"format":1,"writers":{}})").error().code, ErrorCode::corrupt);
  EXPECT_TRUE(add_mark_record(mark, "of-a-later-version", "anything"));
}

}  // namespace
}  // namespace hearth::blob
