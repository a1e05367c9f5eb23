// How many descriptors a holder may have, and what they are for.
#pragma once

#include <cstdint>

namespace hearth::holder {

/// Shares of a limit of open files (RLIMIT_NOFILE).
struct DescriptorBudget {
  uint64_t limit = 0;   // all of them
  uint64_t kept = 0;    // what is put, tracked (two each) and relayed
  uint64_t events = 0;  // reads that may wait at once although all of `kept` is used; more may when it is not
  uint64_t layers = 0;  // mounted ones that `kept` is enough for, see kDescriptorsPerLayer
};

/// A layer that is not complete: its mount, and two for each pack that still raises events (the file, which pages are
/// there). Six packs of 64 MiB are more than most layers have, packs are shared, and complete ones need none.
inline constexpr uint64_t kDescriptorsPerLayer = 1 + 2 * 6;

inline constexpr uint64_t kConnectionsMax = 512;
inline constexpr uint64_t kSpareDescriptors = 256;  // for those that come with a message, or go to a child
inline constexpr uint64_t kEventsAlways = 16;       // may wait whatever else there is, or no reader would ever go on

DescriptorBudget descriptor_budget(uint64_t limit);

/// The limit of a holder that this process would start: root with CAP_SYS_RESOURCE may raise it, others have at most
/// the hard limit. Changes nothing.
uint64_t reachable_descriptors();

/// Raises this process's own limit to that, and returns it.
uint64_t raise_descriptor_limit();

}  // namespace hearth::holder
