#include "blob/range_reader.hpp"

#include "blob/bandwidth_limiter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace hearth::blob {
namespace {

/// Simulated: objects in memory, remote by name only. What a test wants of it happens in `on_read`, before the bytes.
class SimulatedRemoteStore final : public ObjectStore {
 public:
  std::map<std::string, std::string, std::less<>> objects;
  std::function<Result<>(int read, const Patience& patience)> on_read;
  std::atomic<int> reads{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> at_once{0};
  std::atomic<int> most_at_once{0};

  Result<> read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience) override {
    const int number = ++reads;
    const int now = ++at_once;
    for (int most = most_at_once; now > most && !most_at_once.compare_exchange_weak(most, now);) {
    }
    Result<> allowed = on_read ? on_read(number, patience) : Result<>{};
    --at_once;
    if (!allowed) {
      if (allowed.error().code == ErrorCode::cancelled) ++cancelled;
      return allowed;
    }
    const auto found = objects.find(key);
    if (found == objects.end()) return fail(ErrorCode::not_found, "no object");
    if (range.offset + range.length > found->second.size()) return fail(ErrorCode::corrupt, "too short");
    return sink(std::string_view(found->second).substr(range.offset, range.length));
  }
  bool is_remote() const override { return true; }
  Result<std::string> get(std::string_view) override { return fail(ErrorCode::internal, "not used"); }
  Result<std::string> get_range(std::string_view, uint64_t, uint64_t) override {
    return fail(ErrorCode::internal, "not used");
  }
  Result<Created> create(std::string_view, std::string_view) override { return fail(ErrorCode::internal, "not used"); }
  Result<Created> create_from_file(std::string_view, const std::filesystem::path&) override {
    return fail(ErrorCode::internal, "not used");
  }
  Result<std::optional<uint64_t>> size(std::string_view) override { return fail(ErrorCode::internal, "not used"); }
  Result<std::vector<std::string>> list(std::string_view) override { return fail(ErrorCode::internal, "not used"); }
  Result<> remove(std::string_view) override { return fail(ErrorCode::internal, "not used"); }
};

std::string numbered(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += std::to_string(text.size()) + ",";
  text.resize(bytes);
  return text;
}

class RangeReaderTest : public ::testing::Test {
 protected:
  RangeReaderTest() { store_->objects["k"] = numbered(100'000); }

  /// So that the reader knows what usual answers take. Not one read more than it needs for that: from then on a machine
  /// that stumbles makes it send second requests.
  void learn(RangeReader& reader) {
    for (int i = 1; i < kStraggler; ++i) ASSERT_TRUE(reader.read("k", 0, 10, {}));
  }
  static constexpr int kStraggler = 17;  // the first request that may be asked a second time

  std::shared_ptr<SimulatedRemoteStore> store_ = std::make_shared<SimulatedRemoteStore>();
};

TEST_F(RangeReaderTest, ReadsTheRange) {
  RangeReader reader(store_);
  EXPECT_EQ(reader.read("k", 70'000, 123, {}).value(), store_->objects["k"].substr(70'000, 123));
  EXPECT_EQ(reader.read("absent", 0, 1, {}).error().code, ErrorCode::not_found);
  EXPECT_EQ(reader.read("k", 99'999, 2, {}).error().code, ErrorCode::corrupt);
}

TEST_F(RangeReaderTest, ALongRangeComesInPiecesOverSeveralConnections) {
  RangeReader reader(store_, {.piece_bytes = 1000, .pieces_at_once = 4});
  store_->on_read = [](int, const Patience& patience) { return wait_for(milliseconds(2), patience); };
  EXPECT_EQ(reader.read("k", 5, 99'990, {}).value(), store_->objects["k"].substr(5, 99'990));
  EXPECT_GE(store_->reads, 100);  // and second requests, if this machine stumbles
  EXPECT_GT(store_->most_at_once, 1);
}

TEST_F(RangeReaderTest, APieceThatFailsEndsTheReadWithItsError) {
  RangeReader reader(store_, {.piece_bytes = 1000, .pieces_at_once = 4});
  store_->on_read = [](int read, const Patience&) {
    return read == 7 ? Result<>(fail(ErrorCode::denied, "not this one")) : Result<>{};
  };
  EXPECT_EQ(reader.read("k", 0, 100'000, {}).error().code, ErrorCode::denied);
}

TEST_F(RangeReaderTest, AStragglerIsAskedForASecondTimeAndTheFirstAnswerWins) {
  RangeReader reader(store_);
  learn(reader);
  // This request never answers; only a second one can.
  store_->on_read = [](int read, const Patience& patience) {
    return read == kStraggler ? wait_for(seconds(100), patience) : Result<>{};
  };
  EXPECT_EQ(reader.read("k", 10, 20, {}).value(), store_->objects["k"].substr(10, 20));
  EXPECT_EQ(reader.counts().hedges, 1u);
  EXPECT_EQ(reader.counts().hedges_won, 1u);
  EXPECT_EQ(store_->cancelled, 1) << "the loser";
}

TEST_F(RangeReaderTest, ASecondRequestThatLosesIsCancelled) {
  RangeReader reader(store_);
  learn(reader);
  std::mutex mutex;
  std::condition_variable second_sent;
  bool sent = false;
  store_->on_read = [&](int read, const Patience& patience) -> Result<> {
    std::unique_lock lock(mutex);
    if (read == kStraggler) {
      second_sent.wait(lock, [&sent] { return sent; });
      return {};
    }
    sent = true;
    second_sent.notify_all();
    lock.unlock();
    return wait_for(seconds(100), patience);
  };
  EXPECT_TRUE(reader.read("k", 10, 20, {}));
  while (store_->cancelled == 0) std::this_thread::yield();
  EXPECT_EQ(reader.counts().hedges, 1u);
  EXPECT_EQ(reader.counts().hedges_won, 0u);
}

TEST_F(RangeReaderTest, AFailedSecondRequestDecidesNothing) {
  RangeReader reader(store_);
  learn(reader);
  std::atomic<bool> failed{false};
  store_->on_read = [&failed](int read, const Patience&) -> Result<> {
    if (read == kStraggler) {
      while (!failed) std::this_thread::yield();
      return {};
    }
    failed = true;
    return fail(ErrorCode::unavailable, "the second has no luck");
  };
  EXPECT_TRUE(reader.read("k", 10, 20, {}));
}

TEST_F(RangeReaderTest, ACallerThatGivesUpGetsCancelled) {
  RangeReader reader(store_);
  std::stop_source stop;
  store_->on_read = [&stop](int, const Patience& patience) {
    stop.request_stop();
    return wait_for(seconds(100), patience);
  };
  EXPECT_EQ(reader.read("k", 0, 10, {.stop = stop.get_token()}).error().code, ErrorCode::cancelled);
}

TEST_F(RangeReaderTest, NeverHasMoreRequestsInFlightThanConnections) {
  RangeReader reader(store_, {.connections = 3, .prefetch_connections = 2, .hedge = {.saved_max = 0}});
  store_->on_read = [](int, const Patience& patience) { return wait_for(milliseconds(3), patience); };
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 10; ++t) {
      threads.emplace_back([&reader, t] {
        for (int i = 0; i < 5; ++i) {
          EXPECT_TRUE(reader.read("k", 0, 10, {.priority = t % 2 == 0 ? Priority::demand : Priority::prefetch}));
        }
      });
    }
  }
  EXPECT_LE(store_->most_at_once, 3);
}

TEST_F(RangeReaderTest, TheLimiterSlowsWhoeverGivesIt) {
  RangeReader reader(store_);
  BandwidthLimiter limiter(1, 0);  // a byte a second: the deadline comes first
  const ReadOptions slow{.limiter = &limiter, .deadline = Deadline::after(mono_now(), milliseconds(5))};
  EXPECT_EQ(reader.read("k", 0, 1000, slow).error().code, ErrorCode::deadline_exceeded);
  EXPECT_TRUE(reader.read("k", 0, 1000, {}));
  const auto ignore = [](std::string_view) -> Result<> { return {}; };
  EXPECT_EQ(reader.stream("k", {0, 1000}, ignore, slow).error().code, ErrorCode::deadline_exceeded);
}

TEST_F(RangeReaderTest, StreamsInOrderAndPassesTheSinksErrorOn) {
  RangeReader reader(store_);
  std::string seen;
  EXPECT_TRUE(reader.stream("k", {100, 5000},
                            [&seen](std::string_view bytes) -> Result<> {
                              seen += bytes;
                              return {};
                            },
                            {}));
  EXPECT_EQ(seen, store_->objects["k"].substr(100, 5000));
  const auto refuse = [](std::string_view) -> Result<> { return fail(ErrorCode::exhausted, "no room"); };
  EXPECT_EQ(reader.stream("k", {0, 10}, refuse, {}).error().code, ErrorCode::exhausted);
}

}  // namespace
}  // namespace hearth::blob
