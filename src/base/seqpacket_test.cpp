#include "base/seqpacket.hpp"

#include "base/random_id.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>

namespace hearth {
namespace {

class SeqpacketTest : public testing::Test {
 protected:
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / ("hearth-" + random_id() + ".sock");
  void TearDown() override { std::filesystem::remove(path_); }
};

TEST_F(SeqpacketTest, CarriesMessagesWithTheirBoundariesAndDescriptors) {
  auto listener = SeqpacketListener::listen(path_).value();
  auto client = SeqpacketSocket::connect(path_).value();
  auto server = listener.accept().value();
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(client.send("one", {null.get()}));
  ASSERT_TRUE(client.send("two"));
  auto first = server.receive().value();
  EXPECT_EQ(first.bytes, "one");
  ASSERT_EQ(first.fds.size(), 1U);
  struct stat info{};
  ASSERT_EQ(::fstat(first.fds[0].get(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(server.receive().value().bytes, "two");
  EXPECT_EQ(server.peer().value().pid, ::getpid());
}

TEST_F(SeqpacketTest, AClosedPeerIsUnavailableAndASilentOneADeadline) {
  auto listener = SeqpacketListener::listen(path_).value();
  auto client = std::make_unique<SeqpacketSocket>(SeqpacketSocket::connect(path_).value());
  auto server = listener.accept().value();
  EXPECT_EQ(server.receive(Deadline::after(mono_now(), milliseconds(5))).error().code, ErrorCode::deadline_exceeded);
  client.reset();
  EXPECT_EQ(server.receive().error().code, ErrorCode::unavailable);
}

TEST_F(SeqpacketTest, ALivingListenerIsNotReplacedAndADeadOneIs) {
  {
    auto listener = SeqpacketListener::listen(path_).value();
    EXPECT_EQ(SeqpacketListener::listen(path_).error().code, ErrorCode::already_exists);
  }
  EXPECT_TRUE(SeqpacketListener::listen(path_));
}

}  // namespace
}  // namespace hearth
