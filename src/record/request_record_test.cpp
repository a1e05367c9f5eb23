#include "record/request_record.hpp"

#include "record/usage_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hearth::record {
namespace {

using std::chrono::microseconds;

RequestRecord sample() {
  RequestRecord record;
  record.id = "r1";
  record.workspace = "default";
  record.model = "digits";
  record.branch = "team/try";
  record.version = 3;
  record.alias = "prod";
  record.key_id = "k1";
  record.started = *from_iso8601("2026-11-22T13:04:05.123456Z");
  record.timings = {microseconds(10), microseconds(20), microseconds(30), microseconds(70)};
  record.status = 422;
  record.rows = 5;
  record.failed_rows = 2;
  record.results = "[[0,1]]";
  record.stdout_text = "out\n";
  record.stderr_text = "err";
  record.error = R"({"error":"boom"})";
  record.cpu_us = 40;
  record.rss_kib = 50;
  record.bytes_in = 60;
  record.bytes_out = 70;
  record.node = "n1";
  record.replica = "p1";
  return record;
}

std::string line_of(const RequestRecord& record, Texts texts = Texts::keep) {
  std::string line;
  append_json_line(line, record, texts);
  return line;
}

TEST(RequestRecord, ALineKeepsEveryField) {
  const RequestRecord before = sample();
  auto after = parse_record(line_of(before));
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(line_of(*after), line_of(before));
  EXPECT_EQ(after->stderr_text, "err");
  EXPECT_EQ(after->timings.total, microseconds(70));
}

TEST(RequestRecord, HostileTextStaysInsideItsField) {
  RequestRecord record = sample();
  record.results = "1}\n{\"workspace\":\"other\"";
  record.stdout_text = std::string("\0\x01\x7f\xff\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82", 18) + "é€😀\"\\";
  const std::string line = line_of(record);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  const auto json = nlohmann::json::parse(line);  // strict about UTF-8
  EXPECT_EQ(json["results"], record.results);
  EXPECT_THAT(json["stdout"].get<std::string>(), testing::EndsWith("é€😀\"\\"));
  EXPECT_THAT(json["stdout"].get<std::string>(), testing::HasSubstr("\uFFFD"));
  EXPECT_EQ(json["workspace"], "default");
}

TEST(RequestRecord, LongTextsAreCutBetweenCharacters) {
  RequestRecord record = sample();
  record.stdout_text.clear();
  for (size_t i = 0; i < RequestRecord::kTextLimit; ++i) record.stdout_text += "€";
  auto after = parse_record(line_of(record));
  ASSERT_TRUE(after);
  EXPECT_LE(after->stdout_text.size(), RequestRecord::kTextLimit);
  EXPECT_GT(after->stdout_text.size(), RequestRecord::kTextLimit - 3);
  EXPECT_THAT(after->stdout_text, testing::Not(testing::HasSubstr("\uFFFD")));
}

TEST(RequestRecord, ReadersGetResultsAsJson) {
  auto line = readable_line(line_of(sample()));
  ASSERT_TRUE(line);
  const auto json = nlohmann::json::parse(*line);
  EXPECT_EQ(json["results"], nlohmann::json::parse("[[0,1]]"));
  EXPECT_EQ(json["error"]["error"], "boom");
  EXPECT_FALSE(readable_line("{\"workspace\":\"a\""));
}

TEST(RequestRecord, ResultsNestedWithoutEndAreReadable) {
  RequestRecord record = sample();
  const size_t depth = RequestRecord::kTextLimit / 2;
  record.results = std::string(depth, '[') + std::string(depth, ']');
  record.error = "{\n\"error\": \"a\\nb\"\r\n}";
  auto line = readable_line(line_of(record));
  ASSERT_TRUE(line);
  EXPECT_THAT(*line, testing::HasSubstr("\"results\":[[[["));
  EXPECT_EQ(std::ranges::count(*line, '\n'), 0);
  EXPECT_TRUE(nlohmann::json::accept(*line));
}

TEST(UsageTable, RowsAddUpByVersionKeyAndMinute) {
  UsageTable table;
  RequestRecord record = sample();
  std::string line = line_of(record);
  line.pop_back();
  EXPECT_TRUE(table.add_line(line));
  EXPECT_TRUE(table.add_line(line));
  record.started += std::chrono::minutes(1);
  line = line_of(record, Texts::drop);
  line.pop_back();
  EXPECT_TRUE(table.add_line(line));
  ASSERT_EQ(table.rows().size(), 2u);
  const UsageCounts& counts = table.rows().begin()->second;
  EXPECT_EQ(counts.requests, 2u);
  EXPECT_EQ(counts.failed, 2u);
  EXPECT_EQ(counts.rows, 10u);
  EXPECT_EQ(counts.failed_rows, 4u);
  EXPECT_EQ(counts.run_us, 60u);
  EXPECT_EQ(counts.bytes_out, 140u);
}

TEST(UsageTable, ItsOwnLinesAreReadBack) {
  UsageTable table;
  std::string line = line_of(sample());
  line.pop_back();
  table.add_line(line);
  UsageTable again;
  std::string row = table.to_lines();
  row.pop_back();
  EXPECT_TRUE(again.add_line(row));
  EXPECT_EQ(again.to_lines(), table.to_lines());
}

TEST(UsageTable, NamesWithEscapesAreCountedToo) {
  RequestRecord record = sample();
  record.model = "a\"b";
  std::string line = line_of(record);
  line.pop_back();
  UsageTable table;
  EXPECT_TRUE(table.add_line(line));
  EXPECT_EQ(table.rows().begin()->first.model, "a\"b");
  EXPECT_FALSE(table.add_line(std::string_view(line).substr(0, line.size() / 2)));
  EXPECT_FALSE(table.add_line(""));
}

}  // namespace
}  // namespace hearth::record
