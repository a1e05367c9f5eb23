#include "net/byte_channel.hpp"

#include "net/listen.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace hearth::net {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ByteChannelTest : public testing::Test {
 protected:
  ByteChannelTest() {
    std::string pattern = (fs::temp_directory_path() / "hearth-net-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~ByteChannelTest() override { fs::remove_all(directory_); }

  fs::path path() const { return directory_ / "test.sock"; }

  /// One end as a channel, the other as a plain descriptor.
  std::shared_ptr<ByteChannel> channel_with_raw_peer() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    peer_ = UniqueFd(ends[1]);
    return ByteChannel::adopt(loop_, UniqueFd(ends[0]));
  }

  std::string read_peer() {
    std::string bytes(1 << 20, '\0');
    ssize_t got = ::recv(peer_.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return bytes;
  }

  ByteChannel::Callbacks collect() {
    return {.on_data = [this](std::string_view bytes) { received_ += bytes; },
            .on_close = [this](const Error& error) { closed_ = error; }};
  }

  void turn() {
    loop_.run_until([] { return false; }, milliseconds(2));
  }

  fs::path directory_;
  EventLoop loop_;
  UniqueFd peer_;
  std::string received_;
  std::optional<Error> closed_;
};

TEST_F(ByteChannelTest, WritesOfOneTurnLeaveTogetherAtItsEnd) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  channel->write("one ");
  channel->write("two ");
  channel->write(std::string(100'000, 'x'));
  channel->write(" three");
  EXPECT_EQ(read_peer(), "");
  turn();
  EXPECT_EQ(read_peer(), "one two " + std::string(100'000, 'x') + " three");
}

TEST_F(ByteChannelTest, DataThatCameBeforeTheEndIsDeliveredBeforeIt) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  ASSERT_EQ(::send(peer_.get(), "last words", 10, 0), 10);
  peer_.reset();
  ASSERT_TRUE(loop_.run_until([this] { return closed_.has_value(); }));
  EXPECT_EQ(received_, "last words");
  EXPECT_EQ(closed_->code, ErrorCode::unavailable);
  EXPECT_FALSE(channel->is_open());
}

TEST_F(ByteChannelTest, WritingToAPeerThatHasGoneStillDeliversWhatItHadSaid) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  ASSERT_EQ(::send(peer_.get(), "bye", 3, 0), 3);
  peer_.reset();
  channel->write("hello?");
  ASSERT_TRUE(loop_.run_until([this] { return closed_.has_value(); }));
  EXPECT_EQ(received_, "bye");
}

TEST_F(ByteChannelTest, CloseIsSilentAndSendsWhatIsQueued) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  channel->write("goodbye");
  channel->close();
  channel->write("never");
  turn();
  EXPECT_EQ(read_peer(), "goodbye");
  EXPECT_FALSE(closed_);
}

TEST_F(ByteChannelTest, BackPressureIsAFigureAndACallWhenItIsOver) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  int drained = 0;
  channel->on_drained([&drained] { ++drained; });
  size_t total = size_t{8} << 20;
  channel->write(std::string(total, 'x'));
  turn();
  EXPECT_GT(channel->pending_bytes(), 0u);
  EXPECT_EQ(drained, 0);
  size_t got = 0;
  ASSERT_TRUE(loop_.run_until([this, &got, total] {
    got += read_peer().size();
    return got == total;
  }));
  turn();
  EXPECT_EQ(channel->pending_bytes(), 0u);
  EXPECT_EQ(drained, 1);
}

TEST_F(ByteChannelTest, APausedChannelReadsNothingUntilResumed) {
  auto channel = channel_with_raw_peer();
  channel->start(collect());
  channel->pause_reading();
  ASSERT_EQ(::send(peer_.get(), "later", 5, 0), 5);
  turn();
  EXPECT_EQ(received_, "");
  peer_.reset();
  turn();
  EXPECT_FALSE(closed_);
  channel->resume_reading();
  ASSERT_TRUE(loop_.run_until([this] { return closed_.has_value(); }));
  EXPECT_EQ(received_, "later");
}

TEST_F(ByteChannelTest, TheLastReferenceMayBeDroppedInACallback) {
  auto channel = channel_with_raw_peer();
  bool called = false;
  auto* holder = &channel;
  channel->start({.on_data =
                      [holder, &called](std::string_view) {
                        holder->reset();
                        called = true;
                      },
                  .on_close = nullptr});
  ASSERT_EQ(::send(peer_.get(), "x", 1, 0), 1);
  ASSERT_TRUE(loop_.run_until([&called] { return called; }));
  turn();
  EXPECT_EQ(read_peer(), "");
}

TEST_F(ByteChannelTest, EchoThroughAListenerKeepsEveryByte) {
  auto listening = listen_unix({.path = path()});
  ASSERT_TRUE(listening) << listening.error().message;
  std::set<std::shared_ptr<ByteChannel>> accepted;
  auto on_accept = [&accepted](std::shared_ptr<ByteChannel> channel) {
    ByteChannel* raw = channel.get();
    channel->start({.on_data = [raw](std::string_view bytes) { raw->write(std::string(bytes)); }, .on_close = nullptr});
    accepted.insert(std::move(channel));
  };
  auto listener = StreamListener::start(loop_, std::move(*listening), on_accept);
  ASSERT_TRUE(listener);
  auto client = ByteChannel::connect_unix(loop_, path());
  ASSERT_TRUE(client);
  (*client)->start(collect());
  std::string sent;
  for (int i = 0; sent.size() < size_t{4} << 20; ++i) {
    std::string piece = std::to_string(i) + std::string(static_cast<size_t>(i % 5000), 'y') + "\n";
    sent += piece;
    (*client)->write(piece);
  }
  ASSERT_TRUE(loop_.run_until([this, &sent] { return received_.size() == sent.size(); }));
  EXPECT_TRUE(received_ == sent);
  auto peer = (*client)->peer();
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->uid, ::getuid());
}

TEST_F(ByteChannelTest, EchoOverTcp) {
  auto listening = listen_tcp("127.0.0.1:0");
  ASSERT_TRUE(listening) << listening.error().message;
  auto address = local_address(listening->get());
  ASSERT_TRUE(address);
  std::shared_ptr<ByteChannel> server;
  auto on_accept = [&server](std::shared_ptr<ByteChannel> channel) {
    server = std::move(channel);
    server->start(
        {.on_data = [&server](std::string_view bytes) { server->write(std::string(bytes)); }, .on_close = nullptr});
  };
  auto listener = StreamListener::start(loop_, std::move(*listening), on_accept);
  auto client = ByteChannel::connect_tcp(loop_, *address);
  ASSERT_TRUE(client);
  (*client)->write("written before it is connected");
  (*client)->start(collect());
  EXPECT_TRUE(loop_.run_until([this] { return received_ == "written before it is connected"; }));
}

TEST_F(ByteChannelTest, ConnectingToNobodyIsUnavailable) {
  auto unix_channel = ByteChannel::connect_unix(loop_, path());
  ASSERT_FALSE(unix_channel);
  EXPECT_EQ(unix_channel.error().code, ErrorCode::unavailable);

  std::string address;
  {
    auto listening = listen_tcp("127.0.0.1:0");
    ASSERT_TRUE(listening);
    address = local_address(listening->get()).value();
  }
  auto tcp_channel = ByteChannel::connect_tcp(loop_, address);
  if (!tcp_channel) return;  // refused at once
  (*tcp_channel)->start(collect());
  EXPECT_TRUE(loop_.run_until([this] { return closed_.has_value(); }));
}

TEST_F(ByteChannelTest, ListeningReplacesADeadSocketButNotALivingOne) {
  {
    auto first = listen_unix({.path = path(), .mode = 0660, .group = ::getgid()});
    ASSERT_TRUE(first) << first.error().message;
    struct stat status{};
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660u);
    auto second = listen_unix({.path = path()});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::already_exists);
    EXPECT_THAT(second.error().message, HasSubstr(path().string()));
  }
  auto third = listen_unix({.path = path()});
  EXPECT_TRUE(third);
}

TEST_F(ByteChannelTest, ListeningNeverReplacesAFile) {
  std::ofstream(path()) << "precious";
  auto listening = listen_unix({.path = path()});
  ASSERT_FALSE(listening);
  EXPECT_TRUE(fs::is_regular_file(path()));
}

TEST_F(ByteChannelTest, ListeningExplainsWhatIsWrong) {
  EXPECT_EQ(listen_tcp("nonsense").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(listen_tcp("127.0.0.1:99999").error().code, ErrorCode::invalid_argument);
  auto taken = listen_tcp("127.0.0.1:0");
  ASSERT_TRUE(taken);
  auto again = listen_tcp(local_address(taken->get()).value());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::already_exists);
  EXPECT_FALSE(listen_unix({.path = directory_ / std::string(200, 'x')}));
}

}  // namespace
}  // namespace hearth::net
