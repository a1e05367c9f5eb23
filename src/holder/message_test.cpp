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
}

TEST(HolderMessage, ACountBeyondTheMessageAllocatesNothing) {
  std::string bytes = encode(Request{1, Spawn{.args = {"a"}}});
  bytes.replace(9, 4, "\xff\xff\xff\xff");  // the number of arguments
  EXPECT_EQ(decode_request(bytes).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hearth::holder
