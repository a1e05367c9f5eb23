// Marks of real files in a real event group.
#include "mount/watched_packs.hpp"

#include "base/file.hpp"
#include "holder/server.hpp"
#include "mount/backend_probe.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/fetcher_fixture.hpp"
#include "mount/testing/lazy_backends.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace hearth::mount {
namespace {

using testing::ChildProcess;
using testing::mixed_files;
using testing::must;

class WatchedPacksTest : public testing::FetcherFixture {
 protected:
  WatchedPacksTest() : FetcherFixture("/var/tmp") {}  // a disk: tmpfs raises no events

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: fanotify";
    if (auto able = probe_erofs(folder.path()); !able) GTEST_SKIP() << "this host cannot: " << able.error().message;
    const auto socket = folder.path() / "holder.sock";
    holder_ = std::make_unique<ChildProcess>([&socket] { return holder::serve({.socket = socket}).has_value(); });
    testing::wait_for_holder(socket);
    link_ = must(HolderLink::open(socket));
    watched_ = std::make_unique<WatchedPacks>(*link_);
    start(mixed_files());
    must(watched_->watch(pack(), holder::Observe::no));
    must(fill(whole()));
  }
  bool marked() const {
    return must(read_file("/proc/self/fdinfo/" + std::to_string(link_->group()))).contains("fanotify ino:");
  }
  bool kept_by_holder() const {
    return !must(holder::Client(folder.path() / "holder.sock").list("imagefs/pack/")).empty();
  }

  std::unique_ptr<ChildProcess> holder_;
  std::unique_ptr<HolderLink> link_;
  std::unique_ptr<WatchedPacks> watched_;
};

TEST_F(WatchedPacksTest, ACompletePackLosesItsMarkAndThenItsPlaceInTheHolder) {
  ASSERT_TRUE(pack()->complete());
  EXPECT_TRUE(marked());
  watched_->unmark_complete();
  EXPECT_FALSE(marked());
  EXPECT_TRUE(kept_by_holder()) << "a read that came before may still be on its way there";
  watched_->unmark_complete();
  EXPECT_FALSE(kept_by_holder());
  EXPECT_EQ(watched_->find(pack_token(pack()->digest())), pack());
}

TEST_F(WatchedPacksTest, APackThatTheDiskDoesNotTakeKeepsItsMarkUntilItIsVerifiedAgain) {
  disk.sync_error = EIO;
  watched_->unmark_complete();
  EXPECT_FALSE(pack()->complete());
  EXPECT_TRUE(marked());
  disk.sync_error = 0;
  watched_->unmark_complete();
  EXPECT_TRUE(marked()) << "what the disk kept is not known";
  must(fill(whole()));
  watched_->unmark_complete();
  EXPECT_FALSE(marked());
  EXPECT_TRUE(all_right());
}

TEST_F(WatchedPacksTest, APackThatRottedIsMarkedAgainUntilItIsRight) {
  watched_->unmark_complete();
  watched_->unmark_complete();
  pack()->distrust({0, kPageBytes});
  must(watched_->mark_again(pack()));
  EXPECT_TRUE(marked());
  EXPECT_TRUE(kept_by_holder());
  watched_->unmark_complete();
  EXPECT_TRUE(marked());
  must(fill(whole()));
  watched_->unmark_complete();
  EXPECT_FALSE(marked());
}

TEST_F(WatchedPacksTest, APackThatNobodyWatchesIsNotMarked) {
  watched_->unmark_complete();
  watched_->forget(pack());
  must(watched_->mark_again(pack()));
  EXPECT_FALSE(marked());
}

}  // namespace
}  // namespace hearth::mount
