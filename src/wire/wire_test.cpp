// The codec's rules that single messages do not show: limits, versions, acknowledgement, credits.
#include "wire/credits.hpp"
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"
#include "wire/hello.hpp"
#include "wire/kept_results.hpp"

#include <gtest/gtest.h>

namespace hearth::wire {
namespace {

std::vector<Frame> frames_of(FrameDecoder& decoder, std::string_view bytes) {
  decoder.feed(bytes);
  std::vector<Frame> frames;
  while (true) {
    const auto next = decoder.next();
    EXPECT_TRUE(next) << (next ? "" : next.error().message);
    if (!next) return frames;
    const std::optional<Frame>& frame = *next;
    if (!frame) return frames;
    frames.push_back(*frame);
  }
}

TEST(FrameDecoder, AsksForMoreUntilAFrameIsWhole) {
  std::string bytes;
  append_event(bytes, R"({"event":"x"})");
  FrameDecoder decoder;
  EXPECT_TRUE(frames_of(decoder, bytes.substr(0, 15)).empty());
  EXPECT_TRUE(frames_of(decoder, bytes.substr(15, 5)).empty());
  EXPECT_EQ(decoder.pending_bytes(), 20U);
  const auto frames = frames_of(decoder, bytes.substr(20));
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].body, R"({"event":"x"})");
}

TEST(FrameDecoder, RefusesALengthOverTheLimitFromTheHeaderAlone) {
  FrameDecoder decoder(100);
  std::string bytes;
  append_header(bytes, {.length = 101, .type = FrameType::event});
  decoder.feed(bytes);
  const auto frame = decoder.next();
  ASSERT_FALSE(frame);
  EXPECT_NE(frame.error().message.find("exceeds the limit of 100"), std::string::npos);
}

TEST(FrameDecoder, SkipsWhatALaterVersionMarksAsIgnorable) {
  std::string bytes;
  append_header(bytes, {.length = 3, .type = FrameType{200}, .flags = kFlagIgnorable, .count = 7, .seq = 9});
  bytes += "abc";
  append_ping(bytes, 5);
  FrameDecoder decoder;
  const auto frames = frames_of(decoder, bytes);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].type(), FrameType::ping);
  EXPECT_EQ(frames[0].seq(), 5U);
}

TEST(FrameDecoder, AClaimOf64MiBCostsNothingUntilBytesArrive) {
  std::string bytes;
  append_header(bytes, {.length = static_cast<uint32_t>(kMaxFrameBytes), .type = FrameType::event});
  FrameDecoder decoder;
  EXPECT_TRUE(frames_of(decoder, bytes).empty());
  EXPECT_LT(decoder.prepare(1).size(), size_t{1} << 20);
}

TEST(RequestBatchWriter, ReportsFullAtTheFrameLimitAndStartsOverAfterWriting) {
  RequestBatchWriter writer(100);
  const std::string payload(40, '1');
  EXPECT_EQ(writer.add({.id = 1}, payload), Added::yes);
  EXPECT_EQ(writer.add({.id = 2}, payload), Added::full);
  std::string out;
  writer.write(out, 3);
  EXPECT_TRUE(writer.empty());
  EXPECT_EQ(writer.add({.id = 2}, payload), Added::yes);
  writer.write(out, 4);
  FrameDecoder decoder(100);
  const auto frames = frames_of(decoder, out);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ((*Entries<Request>(frames[1]).begin()).id, 2U);
  EXPECT_EQ(frames[1].seq(), 4U);
}

TEST(RequestBatchWriter, TakesAsManyEntriesAsTheCountCanSay) {
  RequestBatchWriter writer;
  for (size_t i = 0; i < kMaxEntries; ++i) ASSERT_EQ(writer.add({.id = i}, ""), Added::yes);
  EXPECT_EQ(writer.add({.id = 1}, ""), Added::full);
  std::string out;
  writer.write(out, 0);
  FrameDecoder decoder;
  EXPECT_EQ(Entries<Request>(frames_of(decoder, out).at(0)).size(), kMaxEntries);
}

TEST(ResultBatchWriter, WritesNothingWhenEmpty) {
  ResultBatchWriter writer;
  std::string out;
  writer.write(out, 1);
  EXPECT_EQ(out, "");
}

struct VersionCase {
  const char* name;
  std::pair<uint32_t, uint32_t> mine;
  std::pair<uint32_t, uint32_t> theirs;
  uint32_t agreed;  // 0: none
};

class AgreeVersion : public testing::TestWithParam<VersionCase> {};

TEST_P(AgreeVersion, TakesTheSmallerOfTheNewest) {
  const VersionCase& c = GetParam();
  const auto agreed = agree_version({.version_lowest = c.mine.first, .version_highest = c.mine.second},
                                    {.version_lowest = c.theirs.first, .version_highest = c.theirs.second});
  EXPECT_EQ(agreed ? *agreed : 0, c.agreed);
}

INSTANTIATE_TEST_SUITE_P(
    Neighbours, AgreeVersion,
    testing::Values(VersionCase{"Same", {1, 1}, {1, 1}, 1}, VersionCase{"TheyAreNewer", {1, 1}, {1, 2}, 1},
                    VersionCase{"WeAreNewer", {1, 2}, {1, 1}, 1}, VersionCase{"BothMoveOn", {1, 2}, {2, 3}, 2},
                    VersionCase{"TheyForgotOurs", {1, 1}, {2, 3}, 0}, VersionCase{"WeForgotTheirs", {2, 3}, {1, 1}, 0}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(Hello, TravelsThroughItsFrame) {
  const Hello sent{.role = "worker",
                   .id = "w0",
                   .frame_limit_bytes = size_t{1} << 20,
                   .boot = "b",
                   .index = 2,
                   .pid = 77,
                   .state = "ready",
                   .mode = "batch",
                   .credits = 512};
  std::string bytes;
  append_hello(bytes, sent);
  FrameDecoder decoder;
  const auto hello = parse_hello(frames_of(decoder, bytes).at(0).body);
  ASSERT_TRUE(hello) << hello.error().message;
  EXPECT_EQ(hello->role, "worker");
  EXPECT_EQ(hello->id, "w0");
  EXPECT_EQ(hello->boot, "b");
  EXPECT_EQ(hello->index, 2);
  EXPECT_EQ(hello->pid, 77);
  EXPECT_EQ(hello->state, "ready");
  EXPECT_EQ(hello->mode, "batch");
  EXPECT_EQ(hello->credits, 512U);
  EXPECT_EQ(hello->frame_limit_bytes, size_t{1} << 20);
}

TEST(Hello, IgnoresWhatALaterVersionAddsAndKeepsTheText) {
  const auto hello = parse_hello(R"({"versions":[1,2],"role":"worker","later":{"x":[1]},"error":{"error":"no"}})");
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version_highest, 2U);
  EXPECT_NE(hello->text.find("later"), std::string::npos);
}

TEST(Hello, NamesTheFieldThatIsWrong) {
  for (const char* text : {R"({"versions":[1,1],"credits":"many"})", R"({"versions":[1,1],"credits":-1})",
                           R"({"versions":[1,1],"credits":1e3})", R"({"versions":[1,1],"credits":99999999999})"}) {
    const auto hello = parse_hello(text);
    ASSERT_FALSE(hello) << text;
    EXPECT_NE(hello.error().message.find("\"credits\""), std::string::npos);
  }
}

TEST(Hello, RefusesWhatIsNone) {
  for (const char* text : {"", "[]", "{", "{}", R"({"versions":[2,1]})", R"({"versions":[1]})",
                           R"({"versions":[-1,1]})", R"({"versions":["1","1"]})", R"({"versions":[1,5000000000]})"}) {
    EXPECT_FALSE(parse_hello(text)) << text;
  }
}

TEST(Hello, KeepsTheFrameLimitInItsBounds) {
  EXPECT_EQ(parse_hello(R"({"versions":[1,1],"frame_limit_bytes":1})")->frame_limit_bytes, kMinFrameBytes);
  EXPECT_EQ(parse_hello(R"({"versions":[1,1],"frame_limit_bytes":2000000000})")->frame_limit_bytes, kMaxFrameBytes);
}

std::vector<uint64_t> seqs_after(const KeptResults& kept, uint64_t seq, size_t limit = kMaxFrameBytes) {
  std::string out;
  kept.append_after(seq, out, limit);
  FrameDecoder decoder;
  std::vector<uint64_t> seqs;
  for (const Frame& frame : frames_of(decoder, out)) {
    for (const ResultView& result : Entries<ResultView>(frame)) {
      seqs.push_back(result.seq);
      EXPECT_EQ(result.value, "v" + std::to_string(result.id));
      EXPECT_EQ(result.stdout_text, "o");
      EXPECT_EQ(result.stderr_text, "");
    }
  }
  return seqs;
}

KeptResults five_results() {
  KeptResults kept;
  for (uint64_t id = 11; id <= 15; ++id) {
    EXPECT_EQ(kept.keep({.id = id}, {.value = "v" + std::to_string(id), .stdout_text = "o"}), id - 10);
  }
  return kept;
}

TEST(KeptResults, AreNumberedFromOneAndSentAgainAfterWhatThePeerHas) {
  const KeptResults kept = five_results();
  EXPECT_EQ(seqs_after(kept, 0), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(seqs_after(kept, 3), (std::vector<uint64_t>{4, 5}));
  EXPECT_TRUE(seqs_after(kept, 5).empty());
}

TEST(KeptResults, AreSentInAsManyFramesAsTheLimitAsks) {
  EXPECT_EQ(seqs_after(five_results(), 0, 100), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
}

TEST(KeptResults, AreFreedByACumulativeAck) {
  KeptResults kept = five_results();
  kept.acknowledge(2);
  EXPECT_EQ(kept.count(), 3U);
  EXPECT_FALSE(kept.has(12));
  EXPECT_TRUE(kept.has(13));
  EXPECT_EQ(seqs_after(kept, 0), (std::vector<uint64_t>{3, 4, 5}));
  kept.acknowledge(1);  // old news
  EXPECT_EQ(kept.count(), 3U);
  kept.acknowledge(5);
  EXPECT_EQ(kept.bytes(), 0U);
  EXPECT_EQ(kept.keep({.id = 1}, {}), 6U);
}

TEST(KeptResults, ANumberNeverGivenOutIsOfAnotherLifeAndMeansNothing) {
  KeptResults kept = five_results();
  kept.acknowledge(6);
  EXPECT_EQ(kept.count(), 5U);
  EXPECT_EQ(seqs_after(kept, 1000).size(), 5U);
  EXPECT_EQ(seqs_after(kept, UINT64_MAX).size(), 5U);
}

TEST(ResultCursor, TellsFreshFromDuplicateFromGap) {
  ResultCursor cursor;
  EXPECT_EQ(cursor.arrive(1), ResultCursor::Arrival::fresh);
  EXPECT_EQ(cursor.arrive(2), ResultCursor::Arrival::fresh);
  EXPECT_EQ(cursor.arrive(1), ResultCursor::Arrival::duplicate);
  EXPECT_EQ(cursor.arrive(4), ResultCursor::Arrival::gap);
  EXPECT_EQ(cursor.last(), 2U);
  cursor.reset();
  EXPECT_EQ(cursor.arrive(1), ResultCursor::Arrival::fresh);
}

TEST(Credits, NeverGoBelowZeroWhenTheLimitFalls) {
  Credits credits(4);
  credits.take(3);
  EXPECT_EQ(credits.available(), 1U);
  credits.set_limit(2);
  EXPECT_EQ(credits.available(), 0U);
  credits.give_back(2);
  EXPECT_EQ(credits.available(), 1U);
  credits.give_back(9);
  EXPECT_EQ(credits.outstanding(), 0U);
}

TEST(Names, CoverEveryTypeAndStatus) {
  for (uint8_t type = 1; type <= 13; ++type) EXPECT_NE(to_string(FrameType{type}), "unknown");
  EXPECT_EQ(to_string(FrameType{14}), "unknown");
  EXPECT_EQ(to_string(Status::worker_died), "worker_died");
}

}  // namespace
}  // namespace hearth::wire
