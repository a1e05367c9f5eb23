#include "node/replica_record.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

namespace hearth::node {
namespace {

TEST(ReplicaRecord, ComesBackAsItWasWritten) {
  const ReplicaRecord record{.id = "rabc",
                             .key = {{"default", "digits", "team/try"}, 7},
                             .phase = RecordPhase::paused,
                             .slots = 3,
                             .process = {.pid = 42, .start_time = 123456789, .cgroup = "/hearth/ab/rabc"},
                             .boot_id = "boot",
                             .started_us = 5};
  const Result<ReplicaRecord> read = replica_record_from_json(replica_record_to_json(record));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, record.id);
  EXPECT_EQ(read->key, record.key);
  EXPECT_EQ(read->phase, record.phase);
  EXPECT_EQ(read->slots, record.slots);
  EXPECT_EQ(read->process, record.process);
  EXPECT_EQ(read->boot_id, record.boot_id);
}

TEST(ReplicaRecord, RefusesWhatIsNotOne) {
  for (const char* text : {"", "[]", "{}", R"({"format":2})", R"({"format":1,"id":"a","slots":0,"version":1})",
                           R"({"format":1,"id":7,"slots":1,"version":1})"}) {
    EXPECT_FALSE(replica_record_from_json(text)) << text;
  }
}

TEST(ProcessStartTime, TellsOwnProcessFromNone) {
  EXPECT_GT(process_start_time(::getpid()), 0U);
  EXPECT_EQ(process_start_time(-1), 0U);
}

}  // namespace
}  // namespace hearth::node
