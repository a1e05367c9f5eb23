// Listeners and holders come and go; descriptors run short. Readers wait, get what belongs there, or an error.
#include "base/process.hpp"
#include "holder/descriptor_budget.hpp"
#include "holder/testing/event_relay_fixture.hpp"

#include <set>
#include <thread>

namespace hearth::holder {
namespace {

TEST_F(EventRelayTest, WhatADeadListenerLeftGoesToTheNext) {
  relay();
  std::vector<std::future<ReadOutcome>*> readers;
  for (uint64_t page = 0; page < 10; ++page) readers.push_back(&read(page * kPage, kPage));
  const pid_t first = in_child([this] {
    auto stream = EventStream::open(socket()).value();
    size_t taken = 0;
    while (taken < 10) taken += stream.next(soon()).value().size();
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(exit_status(first), 128 + SIGKILL);
  for (const auto* reader : readers) EXPECT_TRUE(waits(*reader));
  auto stream = EventStream::open(socket()).value();
  serve(stream, 10);
  for (uint64_t page = 0; page < 10; ++page) {
    EXPECT_EQ(readers[page]->get().bytes, file_->content(page * kPage, kPage));
  }
}

TEST_F(EventRelayTest, TheLatestListenerWinsAndTheOneBeforeIsTold) {
  relay();
  auto old = EventStream::open(socket()).value();
  auto& reader = read(0, kPage);
  const Event event = take(old, 1).at(0);
  auto stream = EventStream::open(socket()).value();
  EXPECT_EQ(old.next(soon()).error().code, ErrorCode::cancelled);
  EXPECT_EQ(take(stream, 1).at(0), event);
  ASSERT_TRUE(old.answer(std::vector{EventAnswer{event.sequence, EPERM}}));
  EXPECT_TRUE(silent(stream));
  EXPECT_TRUE(waits(reader)) << "it has no say any more";
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
}

TEST_F(EventRelayTest, AfterAKilledHolderReadersGetRightBytesOrAnErrorAndNeverZeros) {
  relay();
  std::vector<std::future<ReadOutcome>*> taken;
  for (uint64_t page = 0; page < 20; ++page) taken.push_back(&read(page * kPage, kPage));
  await_count("waiting", 20);  // the holder has taken them all
  const Child dead = client_->process().value();
  kill_holder(SIGKILL);
  std::vector<std::future<ReadOutcome>*> untaken;
  for (uint64_t page = 20; page < 40; ++page) untaken.push_back(&read(page * kPage, kPage));
  std::this_thread::sleep_for(milliseconds(20));
  for (const auto* reader : taken) EXPECT_TRUE(waits(*reader));
  for (const auto* reader : untaken) EXPECT_TRUE(waits(*reader));

  start();
  auto named = options();
  named.predecessor = dead;
  EXPECT_EQ(client_->relay(group_.get(), named).value(), 20u);
  for (auto* reader : taken) EXPECT_EQ(reader->get().error, EIO);
  await_count("waiting", 20);
  ASSERT_TRUE(client_->track(file_->tracked())) << "the new holder knew no file: they waited for this";
  auto stream = EventStream::open(socket()).value();
  serve(stream, 20);
  for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(untaken[i]->get().bytes, file_->content((20 + i) * kPage, kPage));
}

TEST_F(EventRelayTest, ASecondKilledHolderLeavesNothingBehindEither) {
  relay();
  auto named = options();
  for (int round = 0; round < 3; ++round) {
    std::vector<std::future<ReadOutcome>*> readers;
    for (uint64_t page = 0; page < 5; ++page) readers.push_back(&read(page * kPage, kPage));
    await_count("waiting", 5);
    named.predecessor = replace_holder();
    EXPECT_EQ(client_->relay(group_.get(), named).value(), 5u);
    for (auto* reader : readers) EXPECT_EQ(reader->get().error, EIO);
  }
}

TEST_F(EventRelayTest, ALivingPredecessorIsNotSwept) {
  auto named = options();
  named.predecessor = {::getpid(), process_start_time(::getpid()).value()};
  EXPECT_EQ(client_->relay(group_.get(), named).error().code, ErrorCode::unavailable);
  named.predecessor.start_time += 1;  // another process had this pid
  EXPECT_TRUE(client_->relay(group_.get(), named));
}

TEST_F(EventRelayTest, GivingTheSameGroupAgainDeniesNothing) {
  relay();
  auto& reader = read(0, kPage);
  await_count("waiting", 1);
  auto named = options();
  named.predecessor = {::getpid(), process_start_time(::getpid()).value() + 1};
  EXPECT_EQ(client_->relay(group_.get(), named).value(), 0u);
  EXPECT_EQ(client_->relay(client_->get(kImagesGroup).value().get(), options()).value(), 0u);
  EXPECT_TRUE(waits(reader));
  const UniqueFd other = fanotify::open_group().value();
  EXPECT_EQ(client_->relay(other.get(), options()).error().code, ErrorCode::already_exists);
}

TEST_F(EventRelayTest, OnlyAGroupThatCannotLoseEventsIsRelayed) {
  EXPECT_EQ(client_->relay(STDIN_FILENO, options()).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(client_->relay(group_.get(), options(milliseconds(0))).error().code, ErrorCode::invalid_argument);
  constexpr unsigned kRight = FAN_CLASS_PRE_CONTENT | FAN_UNLIMITED_QUEUE;
  for (const auto& [flags, event_flags] : {std::pair{unsigned{FAN_CLASS_PRE_CONTENT}, O_RDWR | O_CLOEXEC},
                                           {unsigned{FAN_CLASS_CONTENT | FAN_UNLIMITED_QUEUE}, O_RDWR | O_CLOEXEC},
                                           {kRight, O_RDONLY | O_CLOEXEC},
                                           {kRight, O_RDWR},
                                           {kRight | FAN_REPORT_PIDFD, O_RDWR | O_CLOEXEC}}) {
    const UniqueFd group(::fanotify_init(flags, static_cast<unsigned>(event_flags)));
    ASSERT_TRUE(group);
    EXPECT_EQ(client_->relay(group.get(), options()).error().code, ErrorCode::invalid_argument) << flags;
  }
  EXPECT_TRUE(client_->relay(group_.get(), options()));
}

TEST_F(EventRelayTest, AFileThatIsNotTrackedIsWaitedForAndThenFails) {
  ASSERT_TRUE(client_->relay(group_.get(), options(milliseconds(100))));
  auto stream = EventStream::open(socket()).value();
  file_->fill(0, kFileBytes);
  EXPECT_EQ(read(0, kPage).get().error, EIO);
  EXPECT_TRUE(silent(stream));
}

TEST_F(EventRelayTest, TrackingAFilledFileLetsItsReadersGo) {
  ASSERT_TRUE(client_->relay(group_.get(), options()));
  file_->fill(0, kFileBytes);
  auto& reader = read(0, kPage);
  await_count("waiting", 1);
  ASSERT_TRUE(client_->track(file_->tracked()));
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
}

TEST_F(EventRelayTest, AFileTrackedAnewIsToldOfInTheNewWords) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& reader = read(0, kPage);
  const Event event = take(stream, 1).at(0);
  TrackedFile renamed = file_->tracked();
  renamed.token = 8;
  ASSERT_TRUE(client_->track(renamed));
  Event expected = event;
  expected.token = 8;
  EXPECT_EQ(take(stream, 1).at(0), expected);
  ASSERT_TRUE(client_->track(renamed));
  EXPECT_TRUE(silent(stream)) << "the same words are not said twice";
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
}

TEST_F(EventRelayTest, SequencesAreNotUsedAgainByTheNextHolder) {
  relay();
  std::set<uint64_t> seen;
  auto named = options();
  for (int round = 0; round < 3; ++round) {
    auto stream = EventStream::open(socket()).value();
    for (int i = 0; i < 10; ++i) (void)read(static_cast<uint64_t>(i) * kPage, 10);
    for (const Event& event : take(stream, 10)) EXPECT_TRUE(seen.insert(event.sequence).second);
    named.predecessor = replace_holder();
    ASSERT_TRUE(client_->relay(group_.get(), named));
    ASSERT_TRUE(client_->track(file_->tracked()));
  }
}

TEST_F(EventRelayTest, AHolderToldToStopFailsReadersAndStaysUntilNobodyHasTheFileOpen) {
  relay();
  UniqueFd user = file_->open();
  auto& reader = read(0, kPage);
  await_count("waiting", 1);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(reader.get().error, EIO);
  EXPECT_EQ(read(kPage, kPage).get().error, EIO) << "never zeros";
  await_count("in_use", 1);
  readers_.clear();
  user.reset();
  EXPECT_EQ(exit_status(std::exchange(pid_, -1)), 0);
}

TEST_F(EventRelayTest, WhileItStaysItKeepsNothingElseAndLetsReadWhatIsThere) {
  relay();
  const UniqueFd user = file_->open();
  ASSERT_TRUE(client_->put("something", group_.get()));
  auto stream = EventStream::open(socket()).value();
  auto& filling = read(0, kPage);
  serve(stream, 1);
  EXPECT_EQ(filling.get().bytes, file_->content(0, kPage));
  stream = EventStream::open(socket()).value();
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(count("in_use"), 0U) << "a listener needs it as ever";
  EXPECT_TRUE(client_->get("something"));
  {
    const auto gone = std::move(stream);
  }
  await_count("in_use", 1);
  EXPECT_FALSE(client_->get("something"));
  EXPECT_EQ(read(0, kPage).get().bytes, file_->content(0, kPage));
}

TEST_F(EventRelayTest, TheNextListenerGoesOnWithAHolderThatStays) {
  relay();
  const UniqueFd user = file_->open();
  ::kill(pid_, SIGTERM);
  await_count("in_use", 1);
  auto stream = EventStream::open(socket()).value();
  EXPECT_EQ(count("in_use"), 0U);
  auto& reader = read(0, kPage);
  serve(stream, 1);
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
}

TEST_F(EventRelayTest, AFileThatIsNotTrackedIsTakenForUsed) {
  ASSERT_TRUE(client_->relay(group_.get(), options()));
  ::kill(pid_, SIGTERM);
  await_count("in_use", 1);
  EXPECT_EQ(read(0, kPage).get().error, EIO);
}

TEST_F(EventRelayTest, WithoutAnyMarkAHolderToldToStopEnds) {
  relay();
  ASSERT_TRUE(fanotify::unmark(group_.get(), file_->fill_fd()));
  EXPECT_EQ(kill_holder(SIGTERM), 0);
}

TEST(DescriptorBudget, AThousandLayersFitIntoTwentyThousandDescriptors) {
  EXPECT_GE(descriptor_budget(20'000).layers, 1000u);
  EXPECT_GE(descriptor_budget(kDescriptorsMax).layers, 4000u);
  EXPECT_EQ(descriptor_budget(uint64_t{1} << 30).limit, kDescriptorsMax) << "numbers stay below what is swept";
  EXPECT_GT(descriptor_budget(1024).kept, 0u);
}

/// A holder with room for some 40 waiting reads.
class ShortOfDescriptors : public EventRelayTest {
 protected:
  void SetUp() override {
    descriptors_max_ = 300;
    EventRelayTest::SetUp();
  }
};

TEST_F(ShortOfDescriptors, ReadsWaitInTheKernelUntilThereIsRoom) {
  relay();
  auto stream = EventStream::open(socket()).value();
  const uint64_t room = 300 - kSpareDescriptors - count("descriptors");
  constexpr uint64_t kReaders = 60;
  ASSERT_LT(room, kReaders);
  std::vector<std::future<ReadOutcome>*> readers;
  for (uint64_t page = 0; page < kReaders; ++page) readers.push_back(&read(page * kPage, kPage));
  await_count("waiting", room);
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(count("events"), room) << "the others wait in the kernel";
  for (const auto* reader : readers) EXPECT_TRUE(waits(*reader));
  serve(stream, kReaders);
  for (uint64_t page = 0; page < kReaders; ++page) {
    EXPECT_EQ(readers[page]->get().bytes, file_->content(page * kPage, kPage));
  }
  EXPECT_EQ(count("failed"), 0u);
}

TEST_F(ShortOfDescriptors, ReadsGoOnAlthoughAllThatMayBeKeptIs) {
  relay();
  for (int i = 0;; ++i) {
    const auto put = client_->put("kept/" + std::to_string(i), STDIN_FILENO);
    if (put) continue;
    EXPECT_EQ(put.error().code, ErrorCode::exhausted);
    break;
  }
  EXPECT_TRUE(client_->put("kept/0", STDIN_FILENO)) << "another in its place";
  auto& reader = read(0, kPage);
  auto stream = EventStream::open(socket()).value();
  serve(stream, 1);
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
}

}  // namespace
}  // namespace hearth::holder
