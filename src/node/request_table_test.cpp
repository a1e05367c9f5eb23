#include "node/request_table.hpp"

#include "node/ack_ledger.hpp"
#include "node/start_permits.hpp"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>
#include <vector>

namespace hearth::node {
namespace {

TEST(RequestTable, RefusesAnIdThatIsThere) {
  RequestTable table;
  ASSERT_NE(table.add(7), nullptr);
  EXPECT_EQ(table.add(7), nullptr);
  table.erase(7);
  EXPECT_NE(table.add(7), nullptr);
}

TEST(RequestTable, AFreshEntryRemembersNothingOfAFormerOne) {
  RequestTable table;
  PendingRequest* first = table.add(1);
  first->given_up = GivenUp::cancelled;
  first->payload = "long enough to be on the heap, so that its memory is kept";
  table.erase(1);
  const PendingRequest* second = table.add(2);
  EXPECT_EQ(second->given_up, GivenUp::no);
  EXPECT_TRUE(second->payload.empty());
}

/// Against std::unordered_map, with the consecutive ids routers choose.
TEST(RequestTable, FindsExactlyWhatIsThere) {
  std::mt19937_64 random(1);
  RequestTable table;
  std::unordered_map<uint64_t, uint32_t> expected;
  std::vector<uint64_t> ids;
  uint64_t next = random();
  for (int i = 0; i < 200'000; ++i) {
    if (random() % 3 != 0 || ids.empty()) {
      PendingRequest* request = table.add(next);
      ASSERT_NE(request, nullptr);
      request->waited_us = static_cast<uint32_t>(i);
      expected[next] = static_cast<uint32_t>(i);
      ids.push_back(next++);
    } else {
      const size_t at = random() % ids.size();
      table.erase(ids[at]);
      expected.erase(ids[at]);
      ids[at] = ids.back();
      ids.pop_back();
    }
  }
  EXPECT_EQ(table.size(), expected.size());
  for (const auto& [id, value] : expected) {
    const PendingRequest* request = table.find(id);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->waited_us, value);
  }
  size_t seen = 0;
  table.for_each([&seen, &expected](const PendingRequest& request) { seen += expected.contains(request.id) ? 1 : 0; });
  EXPECT_EQ(seen, expected.size());
}

TEST(AckLedger, AcknowledgesOnlyWhatHasNoGap) {
  AckLedger ledger(5);
  for (int i = 0; i < 4; ++i) ledger.arrived();  // 5 … 8
  EXPECT_EQ(ledger.cumulative(), 4U);
  ledger.settle(6);
  ledger.settle(7);
  EXPECT_EQ(ledger.cumulative(), 4U);
  ledger.settle(5);
  EXPECT_EQ(ledger.cumulative(), 7U);
  ledger.settle(99);  // never arrived
  ledger.settle(5);   // twice
  EXPECT_EQ(ledger.cumulative(), 7U);
}

TEST(StartPermits, LetsInAsManyAsThereAreAndTheNextWhenOneIsDone) {
  StartPermits permits(2);
  std::vector<StartPermits::Permit> held;
  const auto hold = [&held](StartPermits::Permit permit) { held.push_back(std::move(permit)); };
  for (int i = 0; i < 3; ++i) permits.acquire(hold);
  EXPECT_EQ(held.size(), 2U);
  EXPECT_EQ(permits.waiting(), 1U);
  StartPermits::Permit done = std::move(held.front());
  done.release();
  EXPECT_EQ(held.size(), 3U);
  EXPECT_EQ(permits.waiting(), 0U);
}

}  // namespace
}  // namespace hearth::node
