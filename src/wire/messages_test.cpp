// The example messages of api/wire/messages.json, which the Python codec is tested with too.
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace hearth::wire {
namespace {

using Json = nlohmann::json;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

const Json& examples() {
  static const Json json = Json::parse(std::ifstream(std::string(HEARTH_SOURCE_DIR) + "/api/wire/messages.json"));
  return json;
}

Json entries_of(const Frame& frame) {
  Json list = Json::array();
  switch (frame.type()) {
    case FrameType::requests:
      for (const Request& entry : Entries<Request>(frame)) {
        list.push_back({{"id", entry.id},
                        {"target", entry.target},
                        {"deadline_ms", entry.deadline_ms},
                        {"kind", static_cast<int>(entry.kind)},
                        {"payload", entry.payload}});
      }
      break;
    case FrameType::results:
      for (const ResultView& entry : Entries<ResultView>(frame)) {
        list.push_back({{"id", entry.id},
                        {"status", static_cast<int>(entry.status)},
                        {"flags", entry.flags},
                        {"batch", entry.batch},
                        {"run_us", entry.run_us},
                        {"cpu_us", entry.cpu_us},
                        {"wait_us", entry.wait_us},
                        {"rss_kib", entry.rss_kib},
                        {"value", entry.value},
                        {"stdout", entry.stdout_text},
                        {"stderr", entry.stderr_text}});
      }
      break;
    case FrameType::credits:
      for (const CreditEntry& entry : Entries<CreditEntry>(frame)) {
        list.push_back({{"target", entry.target}, {"limit", entry.limit}});
      }
      break;
    case FrameType::progress:
      for (const Progress& entry : Entries<Progress>(frame))
        list.push_back({{"id", entry.id}, {"payload", entry.payload}});
      break;
    default:
      for (const IdEntry& entry : Entries<IdEntry>(frame)) list.push_back({{"id", entry.id}});
  }
  return list;
}

/// Writes the frame again from its views.
std::string rewrite(const Frame& frame) {
  std::string out;
  std::vector<uint64_t> ids;
  std::vector<CreditEntry> credits;
  RequestBatchWriter requests;
  ResultBatchWriter results;
  switch (frame.type()) {
    case FrameType::requests:
      for (const Request& entry : Entries<Request>(frame)) EXPECT_EQ(requests.add(entry, entry.payload), Added::yes);
      requests.write(out, frame.seq());
      break;
    case FrameType::results:
      for (const ResultView& entry : Entries<ResultView>(frame)) {
        EXPECT_EQ(results.add(entry, {entry.value, entry.stdout_text, entry.stderr_text}), Added::yes);
      }
      results.write(out, frame.seq());
      break;
    case FrameType::credits:
      for (const CreditEntry& entry : Entries<CreditEntry>(frame)) credits.push_back(entry);
      append_credits(out, credits);
      break;
    case FrameType::progress:
      for (const Progress& entry : Entries<Progress>(frame)) append_progress(out, entry.id, entry.payload);
      break;
    case FrameType::cancel:
    case FrameType::attach:
      for (const IdEntry& entry : Entries<IdEntry>(frame)) ids.push_back(entry.id);
      frame.type() == FrameType::cancel ? append_cancel(out, ids) : append_attach(out, frame.seq(), ids);
      break;
    case FrameType::ack:
    case FrameType::ping:
    case FrameType::pong:
      append_empty(out, frame.type(), frame.seq());
      break;
    default:
      append_json(out, frame.type(), frame.seq(), frame.body);
  }
  return out;
}

/// The only frame of `bytes`; fails the test when there is none.
Frame one_frame(FrameDecoder& decoder, std::string_view bytes) {
  decoder.feed(bytes);
  const Result<std::optional<Frame>> frame = decoder.next();
  EXPECT_TRUE(frame) << (frame ? "" : frame.error().message);
  return frame.has_value() ? frame->value_or(Frame{}) : Frame{};
}

TEST(ExampleMessages, AreReadAndWrittenAgainByteForByte) {
  ASSERT_GT(examples().at("messages").size(), 10U);
  for (const Json& message : examples().at("messages")) {
    SCOPED_TRACE(message.at("name"));
    const std::string bytes = from_hex(message.at("hex"));
    FrameDecoder decoder;
    const Frame frame = one_frame(decoder, bytes);
    EXPECT_EQ(static_cast<int>(frame.type()), message.at("type"));
    EXPECT_EQ(frame.header.flags, message.at("flags"));
    EXPECT_EQ(frame.header.count, message.at("count"));
    EXPECT_EQ(frame.seq(), message.at("seq").get<uint64_t>());
    if (message.contains("json")) {
      EXPECT_EQ(Json::parse(frame.body), message.at("json"));
    }
    if (message.contains("entries")) {
      EXPECT_EQ(entries_of(frame), message.at("entries"));
    }
    const bool nothing_to_write =
        message.at("type") == static_cast<int>(FrameType::requests) && message.at("count") == 0;
    if (!nothing_to_write) {
      EXPECT_EQ(rewrite(frame), bytes);
    }
    EXPECT_EQ(decoder.pending_bytes(), 0U);
  }
}

TEST(ExampleMessages, BrokenOnesAreRefused) {
  ASSERT_GT(examples().at("broken").size(), 10U);
  for (const Json& message : examples().at("broken")) {
    SCOPED_TRACE(message.at("name"));
    FrameDecoder decoder;
    decoder.feed(from_hex(message.at("hex")));
    const auto frame = decoder.next();
    ASSERT_FALSE(frame);
    EXPECT_EQ(frame.error().code, ErrorCode::corrupt);
  }
}

TEST(ExampleMessages, ArriveWholeHoweverTheStreamIsCut) {
  std::string stream;
  for (const Json& message : examples().at("messages")) stream += from_hex(message.at("hex"));
  for (const size_t step : {1U, 3U, 16U, 17U, 1000U}) {
    SCOPED_TRACE(step);
    FrameDecoder decoder;
    std::string again;
    size_t frames = 0;
    for (size_t at = 0; at < stream.size(); at += step) {
      decoder.feed(std::string_view(stream).substr(at, step));
      while (true) {
        const auto next = decoder.next();
        ASSERT_TRUE(next) << next.error().message;
        const std::optional<Frame>& frame = *next;
        if (!frame) break;
        append_header(again, frame->header);
        again += frame->body;
        ++frames;
      }
    }
    EXPECT_EQ(frames, examples().at("messages").size());
    EXPECT_EQ(again, stream);
  }
}

}  // namespace
}  // namespace hearth::wire
