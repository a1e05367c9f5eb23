// The first frame of both sides: who speaks, which versions, which limits. Unknown fields are ignored, so a later
// version may add some.
#pragma once

#include "base/result.hpp"
#include "wire/protocol.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::wire {

/// "loading" | "ready" | "unready" | "failed": the states of a worker (docs/formats/wire.md).
struct Hello {
  uint32_t version_lowest = kVersionMin;
  uint32_t version_highest = kVersionMax;
  std::string role;  // "router", "node", "worker", "supervisor"
  std::string id;
  uint64_t frame_limit_bytes = kMaxFrameBytes;  // the largest frame this side takes

  std::string generation;  // router: random per process
  std::string boot;        // worker, supervisor, node: random per process; a new one has none of the old one's results

  // Worker only.
  int64_t index = -1;
  int64_t pid = 0;  // as seen inside the container
  std::string state;
  std::string mode;
  uint32_t credits = 0;

  /// The whole text as received, for what this struct does not name (a worker's "error", "phases", "modules",
  /// "output"). append_hello does not write it.
  std::string text;
};

void append_hello(std::string& out, const Hello& hello);

/// Error: corrupt (no JSON object, a field of the wrong type, versions that are no range).
Result<Hello> parse_hello(std::string_view json);

/// The version both sides use from now on: min(newest, newest), which has to be at least both oldest.
/// Error: unavailable, naming both ranges; the connection is to be closed.
Result<uint32_t> agree_version(const Hello& mine, const Hello& theirs);

}  // namespace hearth::wire
