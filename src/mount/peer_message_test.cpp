#include "mount/peer_message.hpp"

#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

const PeerSecret kSecret("sixteen letters!");
const WallTime kNow = WallTime(seconds(1'800'000'000));

TEST(PeerMessage, QuestionsAndAnswersAreReadBackAsTheyWere) {
  const std::vector<Digest> packs{Digest::of("a"), Digest::of("b")};
  EXPECT_EQ(decode_have(encode_have(packs)).value(), packs);

  const PeerHaveAnswer answer{.node = 77, .packs = {PeerHas::all, PeerHas::none, PeerHas::part}};
  const auto answered = decode_have_answer(encode(answer), 3).value();
  EXPECT_EQ(answered.node, 77u);
  EXPECT_EQ(answered.packs, answer.packs);

  const PeerReadQuestion question{.pack = packs[1], .pieces = {{.plain_offset = 4096, .length = 17}, {8192, 1 << 20}}};
  const auto read = decode_peer_read(encode(question)).value();
  EXPECT_EQ(read.pack, question.pack);
  ASSERT_EQ(read.pieces.size(), 2u);
  EXPECT_EQ(read.pieces[1].plain_offset, 8192u);
  EXPECT_EQ(read.bytes(), 17u + (1 << 20));
}

TEST(PeerMessage, QuestionsBeyondTheirLimitsAreRefused) {
  const Digest pack = Digest::of("a");
  const auto with = [&pack](std::vector<ChunkRead::Piece> pieces) {
    return decode_peer_read(encode(PeerReadQuestion{.pack = pack, .pieces = std::move(pieces)})).has_value();
  };
  EXPECT_TRUE(with({{0, 1}}));
  EXPECT_FALSE(with({}));
  EXPECT_FALSE(with({{0, 0}}));
  EXPECT_FALSE(with({{1, 1}}));
  EXPECT_FALSE(with({{0, (1 << 20) + 1}}));
  EXPECT_FALSE(with({{~uint64_t{4095}, 1}}));
  EXPECT_FALSE(with(std::vector<ChunkRead::Piece>(kPeerPiecesMax + 1, {0, 1})));
  EXPECT_FALSE(with(std::vector<ChunkRead::Piece>(9, {0, 1 << 20})));
  EXPECT_FALSE(decode_peer_read("").has_value());
  EXPECT_FALSE(decode_have("").has_value());
  EXPECT_FALSE(decode_have(std::string(33, 'x')).has_value());
  EXPECT_FALSE(decode_have(std::string((kPeerPacksMax + 1) * Digest::kSize, 'x')).has_value());
  EXPECT_LE(encode(PeerReadQuestion{pack, std::vector<ChunkRead::Piece>(kPeerPiecesMax, {0, 1})}).size(),
            kPeerQuestionBytesMax);
}

TEST(PeerMessage, AnswersToOtherQuestionsAreRefused) {
  const std::string bytes = encode(PeerHaveAnswer{.node = 1, .packs = {PeerHas::all}});
  EXPECT_FALSE(decode_have_answer(bytes, 2).has_value());
  EXPECT_FALSE(decode_have_answer(bytes.substr(1), 1).has_value());
  EXPECT_FALSE(decode_have_answer(bytes.substr(0, 8) + "\x03", 1).has_value());
}

TEST(PeerMessage, AProofHoldsForItsPathBodySecretAndTimeAlone) {
  const auto proof = kSecret.prove("/a", "body", kNow);
  EXPECT_TRUE(kSecret.proven(proof, "/a", "body", kNow));
  EXPECT_TRUE(kSecret.proven(proof, "/a", "body", kNow - seconds(240))) << "clocks differ a little";
  EXPECT_FALSE(kSecret.proven(proof, "/b", "body", kNow));
  EXPECT_FALSE(kSecret.proven(proof, "/a", "other", kNow));
  EXPECT_FALSE(PeerSecret("another secret!!").proven(proof, "/a", "body", kNow));
  EXPECT_FALSE(kSecret.proven(proof, "/a", "body", kNow + seconds(301)));
  EXPECT_FALSE(kSecret.proven(proof, "/a", "body", kNow - seconds(3600))) << "good for too long";
  for (const auto* text : {"", ":", "x", "1800000000", "1800000100:", "-1:00", "99999999999999999999:00"}) {
    EXPECT_FALSE(kSecret.proven(text, "/a", "body", kNow)) << text;
  }
}

}  // namespace
}  // namespace hearth::mount
