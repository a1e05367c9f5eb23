#include "holder/descriptor_budget.hpp"

#include "holder/event_group.hpp"

#include <sys/resource.h>

#include <algorithm>

namespace hearth::holder {

namespace {

constexpr uint64_t kEventsMin = 1024;

rlimit file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit;
}

/// Raises the hard limit too, where that is allowed.
rlimit raised(const rlimit& before) {
  const rlimit wanted{kDescriptorsMax, std::max<rlim_t>(before.rlim_max, kDescriptorsMax)};
  if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) return wanted;
  const rlimit allowed{std::min<rlim_t>(before.rlim_max, kDescriptorsMax), before.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &allowed) == 0 ? allowed : before;
}

}  // namespace

DescriptorBudget descriptor_budget(uint64_t limit) {
  constexpr uint64_t kOthers = kConnectionsMax + kSpareDescriptors + kEventsMin;
  DescriptorBudget budget{.limit = std::min(limit, kDescriptorsMax)};
  // Where there are few, half is for keeping and there may be fewer connections and events.
  budget.kept = std::max(budget.limit > kOthers ? budget.limit - kOthers : 0, budget.limit / 2);
  const uint64_t rest = budget.limit - budget.kept;
  budget.events =
      std::clamp<uint64_t>(rest > kOthers - kEventsMin ? rest - (kOthers - kEventsMin) : 0, kEventsAlways, kEventsMin);
  budget.layers = budget.kept / kDescriptorsPerLayer;
  return budget;
}

uint64_t raise_descriptor_limit() {
  return raised(file_limit()).rlim_cur;
}

uint64_t reachable_descriptors() {
  const rlimit before = file_limit();
  const uint64_t reached = raised(before).rlim_cur;
  ::setrlimit(RLIMIT_NOFILE, &before);
  return reached;
}

}  // namespace hearth::holder
