#include "holder/message.hpp"

#include <gtest/gtest.h>

namespace hearth::holder {
namespace {

TEST(HolderMessage, EveryRequestSurvivesTheWayThere) {
  const Request request{7, Spawn{.watch = Watch::yes,
                                 .args = {"runc", "create"},
                                 .environment = {"PATH=/bin"},
                                 .directory = "/tmp",
                                 .output = "/tmp/log",
                                 .targets = {3, 9}}};
  const Request back = decode_request(encode(request)).value();
  EXPECT_EQ(back.id, 7u);
  const auto& spawn = std::get<Spawn>(back.verb);
  EXPECT_EQ(spawn.watch, Watch::yes);
  EXPECT_EQ(spawn.args, (std::vector<std::string>{"runc", "create"}));
  EXPECT_EQ(spawn.environment, std::vector<std::string>{"PATH=/bin"});
  EXPECT_EQ(spawn.directory, "/tmp");
  EXPECT_EQ(spawn.output, "/tmp/log");
  EXPECT_EQ(spawn.targets, (std::vector<uint32_t>{3, 9}));

  const auto list = decode_request(encode(Request{1, List{"replica/", "replica/a"}})).value();
  EXPECT_EQ(std::get<List>(list.verb).prefix, "replica/");
  EXPECT_EQ(std::get<List>(list.verb).after, "replica/a");
  const auto exited = decode_request(encode(Request{1, Exited{5, Follow::yes}})).value();
  EXPECT_EQ(std::get<Exited>(exited.verb).after, 5u);
  EXPECT_EQ(std::get<Exited>(exited.verb).follow, Follow::yes);
}

TEST(HolderMessage, EveryRequestAboutEventsSurvivesTheWayThere) {
  const auto relay = decode_request(encode(Request{1, Relay{"group", {42, 99}, 90'000}})).value();
  EXPECT_EQ(std::get<Relay>(relay.verb).name, "group");
  EXPECT_EQ(std::get<Relay>(relay.verb).predecessor, (Child{42, 99}));
  EXPECT_EQ(std::get<Relay>(relay.verb).timeout_ms, 90'000u);
  const auto track = decode_request(encode(Request{1, Track{"pack", 7, 64, 4096, Observe::yes}})).value();
  EXPECT_EQ(std::get<Track>(track.verb).name, "pack");
  EXPECT_EQ(std::get<Track>(track.verb).token, 7u);
  EXPECT_EQ(std::get<Track>(track.verb).header_bytes, 64u);
  EXPECT_EQ(std::get<Track>(track.verb).page_bytes, 4096u);
  EXPECT_EQ(std::get<Track>(track.verb).observe, Observe::yes);
  const auto untrack = decode_request(encode(Request{1, Untrack{"pack"}})).value();
  EXPECT_EQ(std::get<Untrack>(untrack.verb).name, "pack");
  const auto answer = decode_request(encode(Request{0, Answers{{{1, 0}, {2, 5}}}})).value();
  ASSERT_EQ(std::get<Answers>(answer.verb).answers.size(), 2u);
  EXPECT_EQ(std::get<Answers>(answer.verb).answers[1].sequence, 2u);
  EXPECT_EQ(std::get<Answers>(answer.verb).answers[1].error, 5u);
  const auto fd = decode_request(encode(Request{1, EventFd{9}})).value();
  EXPECT_EQ(std::get<EventFd>(fd.verb).sequence, 9u);
  EXPECT_TRUE(std::holds_alternative<Listen>(decode_request(encode(Request{1, Listen{}})).value().verb));
  EXPECT_TRUE(std::holds_alternative<Counts>(decode_request(encode(Request{1, Counts{}})).value().verb));
}

TEST(HolderMessage, EveryReplyAboutEventsSurvivesTheWayBack) {
  const Event event{.sequence = 1, .token = 2, .offset = 4096, .length = 8192, .pid = 42};
  const auto events = decode_reply(encode(Reply{3, Events{{event}}})).value();
  EXPECT_EQ(std::get<Events>(events.body).events, std::vector<Event>{event});
  EXPECT_EQ(std::get<Relayed>(decode_reply(encode(Reply{3, Relayed{8}})).value().body).denied, 8u);
  const auto counted = decode_reply(encode(Reply{3, Counted{{{"events", 5}}}})).value();
  EXPECT_EQ(std::get<Counted>(counted.body).values.at(0), (std::pair<std::string, uint64_t>("events", 5)));
}

TEST(HolderMessage, EveryReplySurvivesTheWayBack) {
  const Exit exit{.sequence = 1, .child = {42, 99}, .code = 0, .signal = 9};
  const auto exits = decode_reply(encode(Reply{3, Exits{{exit}}})).value();
  const Exit back = std::get<Exits>(exits.body).exits.at(0);
  EXPECT_EQ(back.child, (Child{42, 99}));
  EXPECT_EQ(back.signal, 9);
  const auto error = decode_reply(encode(Reply{3, Error{ErrorCode::denied, "no"}})).value();
  EXPECT_EQ(std::get<Error>(error.body).code, ErrorCode::denied);
  EXPECT_EQ(std::get<Error>(error.body).message, "no");
  const auto names = decode_reply(encode(Reply{3, Names{{"a", "b"}, "b"}})).value();
  EXPECT_EQ(std::get<Names>(names.body).names.size(), 2u);
  EXPECT_EQ(std::get<Names>(names.body).next, "b");
}

// The bytes are frozen: a holder of one release serves the nodes of the next.
TEST(HolderMessage, TheBytesOfVersionOneNeverChange) {
  EXPECT_EQ(encode(Request{0x01020304, Get{"ab"}}), std::string("\x01\x02\0\0\x04\x03\x02\x01\x02\0\0\0ab", 14));
  EXPECT_EQ(encode(Reply{1, Done{}}), std::string("\x01\x80\0\0\x01\0\0\0", 8));
  EXPECT_EQ(encode(Request{0, Answers{{{258, 5}}}}),
            std::string("\x01\x0b\0\0\0\0\0\0\x01\0\0\0\x02\x01\0\0\0\0\0\0\x05\0\0\0", 24));
  EXPECT_EQ(encode(Reply{1, Events{{{1, 2, 3, 4, 5}}}}),
            std::string("\x01\x86\0\0\x01\0\0\0\x01\0\0\0"
                        "\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0",
                        48));
}

TEST(HolderMessage, AnotherVersionIsRefusedByName) {
  std::string bytes = encode(Request{1, Get{"a"}});
  bytes[0] = 2;
  const auto request = decode_request(bytes);
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(request.error().message.find("version 2"), std::string::npos);
  EXPECT_EQ(id_of(bytes), 1u);  // it can still be answered
}

TEST(HolderMessage, EveryPrefixOfAMessageIsRefused) {
  const std::string whole = encode(Request{1, Spawn{.args = {"a"}, .environment = {"b=c"}, .targets = {3}}});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_request(std::string_view(whole).substr(0, size))) << size;
  }
  EXPECT_FALSE(decode_request(whole + "x"));
  const std::string events = encode(Reply{1, Events{{{1, 2, 3, 4, 5}}}});
  for (size_t size = 0; size < events.size(); ++size) {
    EXPECT_FALSE(decode_reply(std::string_view(events).substr(0, size))) << size;
  }
}

TEST(HolderMessage, ACountBeyondTheMessageAllocatesNothing) {
  std::string bytes = encode(Request{1, Spawn{.args = {"a"}}});
  bytes.replace(9, 4, "\xff\xff\xff\xff");  // the number of arguments
  EXPECT_EQ(decode_request(bytes).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hearth::holder
