// Of any number of creators exactly one creates, and nobody ever sees a part.
#include "blob/testing/store_under_test.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <thread>

namespace hearth::blob {
namespace {

using StoreConformance = StoreUnderTest;

TEST_F(StoreConformance, OfManyThreadsExactlyOneCreates) {
  constexpr int kThreads = 8;
  constexpr size_t kKeys = 10;
  std::array<std::atomic<int>, kKeys> winners{};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &winners] {
        for (size_t k = 0; k < kKeys; ++k) {
          const std::string key = "race/" + std::to_string(k);
          const auto made = store_->create(key, std::string(1000, static_cast<char>('a' + t)));
          ASSERT_TRUE(made) << made.error().message;
          if (*made == Created::yes) ++winners[k];
          const std::string seen = store_->get(key).value();
          EXPECT_EQ(seen, std::string(1000, seen.at(0))) << "a part or a mixture was visible";
        }
      });
    }
  }
  for (const auto& count : winners) EXPECT_EQ(count, 1);
}

/// In a child: its own connections, its own everything. The exit status says what went wrong.
[[noreturn]] void race(const std::string& url, int process, int keys) {
  const auto store = open_store(url);
  if (!store) ::_exit(1);
  for (int k = 0; k < keys; ++k) {
    const std::string key = "generation/" + std::to_string(k);
    const auto made = (*store)->create(key, std::to_string(process));
    if (!made) ::_exit(2);
    // Every winner signs in a key of its own.
    const std::string won = "won/" + std::to_string(k) + "." + std::to_string(process);
    if (*made == Created::yes && !(*store)->create(won, "")) ::_exit(3);
  }
  ::_exit(0);
}

TEST_F(StoreConformance, OfManyProcessesExactlyOneCreates) {
  constexpr int kProcesses = 6;
  constexpr int kKeys = 12;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = ::fork();
    if (child == 0) race(url(), p, kKeys);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  for (int k = 0; k < kKeys; ++k) {
    const auto winners = store_->list("won/" + std::to_string(k) + ".").value();
    ASSERT_EQ(winners.size(), 1u) << k;
    const std::string winner = winners.front().substr(winners.front().find('.') + 1);
    EXPECT_EQ(store_->get("generation/" + std::to_string(k)).value(), winner) << "the one who was told so";
  }
}

TEST_F(StoreConformance, OfManyLargeUploadsExactlyOneIsWhole) {
  constexpr int kThreads = 3;
  constexpr size_t kBytes = size_t{33} << 20;
  std::atomic<int> winners{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &winners] {
        const auto source = scratch_ / ("source" + std::to_string(t));
        std::ofstream(source, std::ios::binary) << std::string(kBytes, static_cast<char>('a' + t));
        const auto made = store_->create_from_file("big/raced", source);
        ASSERT_TRUE(made) << made.error().message;
        if (*made == Created::yes) ++winners;
      });
    }
  }
  EXPECT_GE(winners, 1);
  EXPECT_EQ(store_->size("big/raced").value(), kBytes);
  const std::string seen = store_->get("big/raced").value();
  EXPECT_EQ(seen.find_first_not_of(seen.front()), std::string::npos) << "a mixture";
}

}  // namespace
}  // namespace hearth::blob
