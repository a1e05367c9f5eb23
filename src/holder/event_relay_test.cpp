// One reader, one listener, one holder: who is woken, what is answered.
#include "holder/event_relay.hpp"

#include "holder/testing/event_relay_fixture.hpp"

#include <sys/mman.h>

#include <atomic>
#include <thread>

namespace hearth::holder {
namespace {

TEST_F(EventRelayTest, AReadWaitsForTheListenerAndGetsWhatItFilled) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& reader = read(3 * kPage + 10, 100);
  const Event event = take(stream, 1).at(0);
  EXPECT_EQ(event.token, 7u);
  EXPECT_EQ(event.offset, 3 * kPage);
  EXPECT_EQ(event.length, kPage);
  EXPECT_EQ(event.pid, ::getpid());
  EXPECT_TRUE(waits(reader));
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(reader.get().bytes, file_->content(3 * kPage + 10, 100));
}

TEST_F(EventRelayTest, AnEventNamesWholePagesUpToTheEndOfTheFile) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& reader = read(62 * kPage + 5, 10 * kPage);
  const Event event = take(stream, 1).at(0);
  EXPECT_EQ(event.offset, 62 * kPage);
  EXPECT_EQ(event.length, kFileBytes - 62 * kPage);
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(reader.get().bytes, file_->content(62 * kPage + 5, kFileBytes));
}

TEST_F(EventRelayTest, AReadOfWhatIsThereWakesNoListener) {
  relay();
  auto stream = EventStream::open(socket()).value();
  file_->fill(0, 20 * kPage);
  EXPECT_EQ(read(7 * kPage, 13 * kPage).get().bytes, file_->content(7 * kPage, 13 * kPage));
  EXPECT_TRUE(silent(stream));
  EXPECT_EQ(count("allowed"), 1u);
  // One page too far, and one too early.
  auto& reader = read(7 * kPage, 13 * kPage + 1);
  EXPECT_EQ(take(stream, 1).at(0).length, 14 * kPage);
  file_->fill(20 * kPage, kPage);
  EXPECT_TRUE(waits(reader)) << "it is asked for, so it is answered";
}

TEST_F(EventRelayTest, AReadOfWhatIsThereNeedsNoListenerAtAll) {
  relay();
  file_->fill(0, kFileBytes);
  EXPECT_EQ(read(0, kFileBytes).get().bytes, file_->content(0, kFileBytes));
  EXPECT_EQ(read(kFileBytes, 10).get().bytes, "") << "nothing lies behind the end";
}

TEST_F(EventRelayTest, AnObservedFileTellsOfReadsThatWereAllowedToo) {
  auto tracked = file_->tracked();
  tracked.observe = Observe::yes;
  relay();
  ASSERT_TRUE(client_->track(tracked));
  auto stream = EventStream::open(socket()).value();
  file_->fill(0, 8 * kPage);
  EXPECT_EQ(read(kPage + 1, kPage).get().bytes, file_->content(kPage + 1, kPage));
  const Event told = take(stream, 1).at(0);
  EXPECT_EQ(told, (Event{.sequence = 0, .token = 7, .offset = kPage, .length = 2 * kPage, .pid = ::getpid()}));
  ASSERT_TRUE(client_->track(file_->tracked()));
  EXPECT_EQ(read(0, 10).get().error, 0);
  EXPECT_TRUE(silent(stream));
}

TEST_F(EventRelayTest, AnErrnoReachesTheReader) {
  relay();
  auto stream = EventStream::open(socket()).value();
  for (const auto& [answered, seen] : {std::pair{EIO, EIO}, {ENOSPC, ENOSPC}, {ENOTDIR, EIO}, {9999, EIO}}) {
    auto& reader = read(0, 10);
    const Event event = take(stream, 1).at(0);
    ASSERT_TRUE(stream.answer(std::vector{EventAnswer{event.sequence, static_cast<uint32_t>(answered)}}));
    EXPECT_EQ(reader.get().error, seen) << answered;
  }
}

TEST_F(EventRelayTest, NobodyIsLetThroughToAHoleWhateverTheListenerSays) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& reader = read(0, 2 * kPage);
  const Event event = take(stream, 1).at(0);
  file_->fill(0, kPage);  // one of two
  ASSERT_TRUE(stream.answer(std::vector{EventAnswer{event.sequence, 0}}));
  EXPECT_EQ(reader.get().error, EIO);
  EXPECT_EQ(count("refused"), 1u);
}

TEST_F(EventRelayTest, WhatNobodyAnswersInTimeFails) {
  relay(milliseconds(50));
  EXPECT_EQ(read(0, 10).get().error, EIO) << "no listener";
  auto stream = EventStream::open(socket()).value();
  EXPECT_EQ(read(0, 10).get().error, EIO) << "one that does nothing";
  const Event late = take(stream, 1).at(0);
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(late)}));
  EXPECT_EQ(count("timed_out"), 2u);
  EXPECT_EQ(read(0, 10).get().bytes, file_->content(0, 10)) << "and harms nobody later";
}

TEST_F(EventRelayTest, ATrackThatMakesNoSenseIsRefused) {
  relay();
  const auto refused = [this](auto change) {
    TrackedFile track = file_->tracked();
    change(track);
    const auto tracked = client_->track(track);
    return tracked ? ErrorCode::internal : tracked.error().code;
  };
  const UniqueFd folder = open_file(folder_, O_RDONLY).value();
  EXPECT_EQ(refused([](auto& t) { t.name = ""; }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([](auto& t) { t.header_bytes += 1; }), ErrorCode::invalid_argument) << "a bit short";
  EXPECT_EQ(refused([](auto& t) { t.header_bytes = 1U << 31; }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([](auto& t) { t.page_bytes = 0; }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([](auto& t) { t.page_bytes = 512; }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([](auto& t) { t.page_bytes = 4097; }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([&](auto& t) { t.data_fd = folder.get(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([&](auto& t) { t.presence_fd = folder.get(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(refused([](auto& t) { t.name = "another"; }), ErrorCode::already_exists);
  file_->fill(0, kPage);
  EXPECT_EQ(read(0, kPage).get().bytes, file_->content(0, kPage)) << "what was tracked stays tracked";
}

TEST_F(EventRelayTest, APresenceFileCutShortMeansThatNothingIsThere) {
  relay();
  auto stream = EventStream::open(socket()).value();
  file_->fill(0, kFileBytes);
  ASSERT_EQ(::ftruncate(file_->presence_fd(), 0), 0);
  auto& reader = read(0, kPage);
  const Event event = take(stream, 1).at(0);
  ASSERT_TRUE(stream.answer(std::vector{EventAnswer{event.sequence, 0}}));
  EXPECT_EQ(reader.get().error, EIO);
  EXPECT_TRUE(client_->list("")) << "and the holder lives";
}

TEST_F(EventRelayTest, ADataFileCutShortIsNotReadAsZeros) {
  relay();
  auto stream = EventStream::open(socket()).value();
  file_->fill(0, kFileBytes);
  ASSERT_EQ(::ftruncate(file_->fill_fd(), kPage), 0);
  auto& reader = read(0, 2 * kPage);
  const Event event = take(stream, 1).at(0);
  ASSERT_TRUE(stream.answer(std::vector{EventAnswer{event.sequence, 0}}));
  EXPECT_EQ(reader.get().error, EIO);
}

TEST_F(EventRelayTest, UntrackLetsReadersOfWhatIsThereGoAndKeepsTheRest) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& filled = read(0, kPage);
  auto& hole = read(kPage, kPage);
  (void)take(stream, 2);
  file_->fill(0, kPage);
  ASSERT_TRUE(client_->untrack("pack/data"));
  EXPECT_EQ(filled.get().bytes, file_->content(0, kPage));
  EXPECT_TRUE(client_->get("pack/data")) << "kept until it is dropped";
  EXPECT_EQ(count("waiting"), 1u);
  EXPECT_EQ(count("tracked"), 0u);
  ASSERT_TRUE(client_->track(file_->tracked()));
  serve(stream, 1);
  EXPECT_EQ(hole.get().bytes, file_->content(kPage, kPage));
}

TEST_F(EventRelayTest, DroppingANameOrPuttingAnotherThingThereEndsTracking) {
  relay();
  ASSERT_TRUE(client_->drop("pack/data"));
  EXPECT_EQ(count("tracked"), 0u);
  ASSERT_TRUE(client_->track(file_->tracked()));
  EXPECT_EQ(count("tracked"), 1u);
  ASSERT_TRUE(client_->put("pack/data", STDIN_FILENO));
  EXPECT_EQ(count("tracked"), 0u);
}

TEST_F(EventRelayTest, TheDescriptorOfAnEventWritesWithoutRaisingOne) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto& reader = read(0, kPage);
  const Event event = take(stream, 1).at(0);
  const UniqueFd fd = client_->event_fd(event.sequence).value();
  file_->write(fd.get(), 0, kPage);
  file_->set_present(0, kPage);
  ASSERT_TRUE(stream.answer(std::vector{EventAnswer{event.sequence, 0}}));
  EXPECT_EQ(reader.get().bytes, file_->content(0, kPage));
  file_->write(fd.get(), kPage, kPage);
  EXPECT_EQ(read_at(fd.get(), kPage, kPage).bytes, file_->content(kPage, kPage)) << "for as long as it is open";
  EXPECT_TRUE(silent(stream));
  EXPECT_EQ(client_->event_fd(event.sequence).error().code, ErrorCode::not_found);
}

TEST_F(EventRelayTest, AMappingAsksForAllOfItAtOnce) {
  relay();
  auto stream = EventStream::open(socket()).value();
  auto mapped = std::async(std::launch::async, [fd = file_->open()] {
    const void* at = ::mmap(nullptr, kFileBytes, PROT_READ, MAP_SHARED, fd.get(), 0);
    const std::string bytes(static_cast<const char*>(at), kFileBytes);
    ::munmap(const_cast<void*>(at), kFileBytes);
    return bytes;
  });
  const Event event = take(stream, 1).at(0);
  EXPECT_EQ(event.offset, 0u);
  EXPECT_EQ(event.length, kFileBytes);
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(mapped.get(), file_->content(0, kFileBytes));
}

TEST_F(EventRelayTest, ManyReadersAllReadWhatBelongsThere) {
  relay();
  std::jthread imagefs([this](const std::stop_token& stop) {
    auto stream = EventStream::open(socket()).value();
    while (!stop.stop_requested()) {
      const auto events = stream.next(Deadline::after(mono_now(), milliseconds(20)));
      if (!events) continue;
      std::vector<EventAnswer> answers;
      for (const Event& event : *events) answers.push_back(file_->serve(event));
      EXPECT_TRUE(stream.answer(answers));
    }
  });
  std::vector<std::jthread> readers;
  std::atomic<int> wrong = 0;
  for (uint64_t reader = 0; reader < 64; ++reader) {
    readers.emplace_back([this, reader, &wrong] {
      const UniqueFd fd = file_->open();
      for (uint64_t round = 0; round < 50; ++round) {
        const uint64_t offset = (reader * 7919 + round * 104'729) % kFileBytes;
        const size_t length = 1 + (reader * 31 + round * 977) % (3 * kPage);
        if (read_at(fd.get(), offset, length).bytes != file_->content(offset, length)) ++wrong;
      }
    });
  }
  readers.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(EventRelayTest, AListenerThatDoesNotReadIsStillListenedTo) {
  relay();
  auto stream = EventStream::open(socket()).value();
  TrackedFile observed = file_->tracked();
  observed.observe = Observe::yes;
  ASSERT_TRUE(client_->track(observed));
  file_->fill(0, kPage);
  auto& reader = read(kPage, kPage);
  const Event event = take(stream, 1).at(0);
  const UniqueFd fd = file_->open();
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(read_at(fd.get(), 0, 1).error, 0);  // more than its socket and queue hold
  ASSERT_TRUE(stream.answer(std::vector{file_->serve(event)}));
  EXPECT_EQ(reader.get().bytes, file_->content(kPage, kPage));
}

}  // namespace
}  // namespace hearth::holder
