#include "supervisor/group_copy.hpp"

#include "base/process.hpp"
#include "holder/testing/event_relay_fixture.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace hearth::supervisor {
namespace {

using holder::Client;
using holder::kPage;

/// What the command line of a holder says.
holder::Config config_of(const LaunchOptions& launch, holder::Config config) {
  if (launch.fds.empty()) return config;
  config.group_fd = launch.fds.at(0).first;
  EXPECT_EQ(launch.args.at(0), "--group-fd");
  EXPECT_EQ(launch.args.at(1), std::to_string(launch.fds.at(0).second));
  EXPECT_EQ(launch.args.at(2), "--predecessor");
  const std::string& process = launch.args.at(3);
  config.predecessor.pid = std::stoi(process);
  config.predecessor.start_time = std::stoull(process.substr(process.find(':') + 1));
  return config;
}

class GroupCopyTest : public holder::EventRelayTest {
 protected:
  /// As the supervisor does it.
  void start_next(GroupCopy& copy) {
    LaunchOptions launch;
    copy.add_to(launch);
    start(config_of(launch, {.socket = socket()}));
    copy.refresh();
  }
};

TEST_F(GroupCopyTest, WithoutAGroupAHolderIsStartedAsEver) {
  GroupCopy copy(socket());
  copy.refresh();
  LaunchOptions launch;
  copy.add_to(launch);
  EXPECT_TRUE(launch.args.empty());
  EXPECT_TRUE(launch.fds.empty());
  EXPECT_EQ(copy.fd(), -1);
}

TEST_F(GroupCopyTest, TheGroupIsThereBeforeAnyImageIsMounted) {
  kill_holder(SIGTERM);
  GroupCopy copy(socket());
  copy.make();
  if (copy.fd() < 0) GTEST_SKIP() << "kernel has no pre-content events";
  LaunchOptions launch;
  copy.add_to(launch);
  EXPECT_EQ(launch.args.size(), 2U) << "nobody read it before";
  start({.socket = socket(), .group_fd = launch.fds.at(0).first});
  EXPECT_TRUE(Client(socket()).get(holder::kImagesGroup)) << "imagefs finds it, and makes none of its own";
  copy.refresh();
  copy.add_to(launch);
  EXPECT_EQ(launch.args.size(), 6U) << "the next holder is told of this one";
}

TEST_F(GroupCopyTest, WhenHolderAndImagefsDieTogetherReadersStillNeverSeeZeros) {
  relay();
  GroupCopy copy(socket());
  copy.refresh();
  ASSERT_GE(copy.fd(), 0);
  for (int round = 0; round < 2; ++round) {
    const uint64_t first = static_cast<uint64_t>(round) * 10;
    auto& taken = read(first * kPage, kPage);
    await_count("waiting", 1);
    kill_holder(SIGKILL);
    group_.reset();  // imagefs is gone as well: the supervisor's is the last copy
    auto& untaken = read((first + 1) * kPage, kPage);
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_TRUE(waits(taken));
    EXPECT_TRUE(waits(untaken));

    start_next(copy);
    EXPECT_EQ(taken.get().error, EIO);
    EXPECT_TRUE(client_->get(holder::kImagesGroup)) << "for the next imagefs";
    ASSERT_TRUE(client_->track(file_->tracked()));
    auto stream = holder::EventStream::open(socket()).value();
    serve(stream, 1);
    EXPECT_EQ(untaken.get().bytes, file_->content((first + 1) * kPage, kPage));
  }
}

TEST_F(GroupCopyTest, AHolderKilledWithItsSupervisorIsFollowedByOneThatHasTheGroupOfAnotherProcess) {
  relay();
  const holder::Child dead = client_->process().value();
  const auto self = process_start_time(::getpid()).value();
  const RunState earlier{.processes = {{.role = "holder", .pid = dead.pid, .start_time = dead.start_time},
                                       {.role = "node", .pid = ::getpid(), .start_time = self}}};
  EXPECT_FALSE(find_lost_group(earlier)) << "it lives";
  auto& taken = read(0, kPage);
  await_count("waiting", 1);
  kill_holder(SIGKILL);
  auto& untaken = read(kPage, kPage);
  GroupCopy copy(socket());  // of the next supervisor; this process, which has a copy of its own, stands for the node
  copy.rescue(earlier);
  ASSERT_GE(copy.fd(), 0);
  EXPECT_TRUE(waits(taken));
  EXPECT_TRUE(waits(untaken));
  start_next(copy);
  EXPECT_EQ(taken.get().error, EIO);
  ASSERT_TRUE(client_->track(file_->tracked()));
  auto stream = holder::EventStream::open(socket()).value();
  serve(stream, 1);
  EXPECT_EQ(untaken.get().bytes, file_->content(kPage, kPage));
}

TEST_F(GroupCopyTest, WithoutMarksThereIsNothingToBringBack) {
  relay();
  const holder::Child dead = client_->process().value();
  const auto self = process_start_time(::getpid()).value();
  kill_holder(SIGKILL);
  ASSERT_TRUE(fanotify::unmark(group_.get(), file_->fill_fd()));
  EXPECT_FALSE(find_lost_group({.processes = {{.role = "holder", .pid = dead.pid, .start_time = dead.start_time},
                                              {.role = "node", .pid = ::getpid(), .start_time = self}}}));
}

TEST_F(GroupCopyTest, ASupervisorStartedAnewTakesItsCopyFromTheHolder) {
  relay();
  GroupCopy copy(socket());
  copy.refresh();
  auto& reader = read(0, kPage);
  await_count("waiting", 1);
  kill_holder(SIGKILL);
  start_next(copy);
  EXPECT_EQ(reader.get().error, EIO);
  {
    GroupCopy next(socket());
    next.refresh();
    ASSERT_GE(next.fd(), 0);
    auto& another = read(0, kPage);
    await_count("waiting", 1);
    kill_holder(SIGKILL);
    start_next(next);
    EXPECT_EQ(another.get().error, EIO) << "it knew whom to name";
  }
}

}  // namespace
}  // namespace hearth::supervisor
