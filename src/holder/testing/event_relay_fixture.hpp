// Real readers of a marked file, with a holder between them and whoever stands for imagefs.
#pragma once

#include "holder/client.hpp"
#include "holder/testing/holder_process.hpp"
#include "holder/testing/relayed_file.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace hearth::holder {

inline constexpr uint64_t kFileBytes = 64 * kPage + 100;

/// A holder, a group, and one marked file that nobody has filled yet.
class EventRelayTest : public HolderProcess {
 protected:
  void SetUp() override {
    HolderProcess::SetUp();
    auto group = fanotify::open_group();
    if (!group) GTEST_SKIP() << "kernel has no pre-content events: " << group.error().message;
    group_ = std::move(*group);
    file_ = std::make_unique<RelayedFile>(path("data"), kFileBytes, 7);
    const auto marked = fanotify::mark(group_.get(), file_->fill_fd());
    if (!marked) GTEST_SKIP() << "kernel has no pre-content events: " << marked.error().message;
    client_ = std::make_unique<Client>(socket());
  }
  void TearDown() override {
    kill_holder(SIGKILL);  // told to stop, it would stay: the file is open here
    HolderProcess::TearDown();
    group_.reset();  // the last copy: who still waits goes on
    readers_.clear();
  }

  RelayOptions options(milliseconds timeout = seconds(60)) const { return {.predecessor = {}, .timeout = timeout}; }
  /// A holder that relays and tracks.
  void relay(milliseconds timeout = seconds(60)) {
    ASSERT_EQ(client_->relay(group_.get(), options(timeout)).value(), 0u);
    ASSERT_TRUE(client_->track(file_->tracked()));
  }

  /// Starts to read, in another thread.
  std::future<ReadOutcome>& read(uint64_t offset, size_t length) {
    readers_.push_back(std::async(std::launch::async,
                                  [fd = file_->open(), offset, length] { return read_at(fd.get(), offset, length); }));
    return readers_.back();
  }
  static bool waits(const std::future<ReadOutcome>& reader) {
    return reader.wait_for(milliseconds(0)) != std::future_status::ready;
  }
  uint64_t count(const std::string& name) { return client_->counts().value().at(name); }
  void await_count(const std::string& name, uint64_t value) {
    while (count(name) != value) std::this_thread::sleep_for(milliseconds(1));
  }

  /// Takes `count` events, however they come.
  static std::vector<Event> take(EventStream& stream, size_t count) {
    std::vector<Event> events;
    while (events.size() < count) {
      const auto some = stream.next(soon());
      if (!some) {
        ADD_FAILURE() << some.error().message;
        return events;
      }
      events.insert(events.end(), some->begin(), some->end());
    }
    EXPECT_EQ(events.size(), count);
    return events;
  }
  void serve(EventStream& stream, size_t count) {
    for (size_t done = 0; done < count;) {
      const auto events = stream.next(soon());
      ASSERT_TRUE(events) << events.error().message;
      std::vector<EventAnswer> answers;
      for (const Event& event : *events) answers.push_back(file_->serve(event));
      ASSERT_TRUE(stream.answer(answers));
      done += events->size();
    }
  }
  /// Nothing waits to be told: what the holder had for the listener came before this answer.
  bool silent(EventStream& stream) {
    (void)count("events");
    const auto next = stream.next(Deadline::after(mono_now(), milliseconds(20)));
    return !next && next.error().code == ErrorCode::deadline_exceeded;
  }

  /// Kills the holder and starts the next one.
  Child replace_holder() {
    const Child before = client_->process().value();
    kill_holder(SIGKILL);
    start();
    return before;
  }

  UniqueFd group_;
  std::unique_ptr<RelayedFile> file_;
  std::unique_ptr<Client> client_;
  std::deque<std::future<ReadOutcome>> readers_;
};

}  // namespace hearth::holder
