// The vocabulary of the wire protocol, version 1: numbers, names and fixed-size entries (docs/formats/wire.md).
// Plain data: no sockets, no allocation. Everything on the wire is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth::wire {

constexpr uint32_t kVersionMin = 1;  // the oldest version this program speaks
constexpr uint32_t kVersionMax = 1;  // the newest

constexpr size_t kHeaderBytes = 16;
constexpr size_t kMaxFrameBytes = size_t{64} << 20;  // of `length`, the bytes after the header
constexpr size_t max_frame_bytes = kMaxFrameBytes;   // NOLINT(readability-identifier-naming): going away
constexpr size_t kMinFrameBytes = size_t{64} << 10;  // a HELLO may lower the limit, not below this
constexpr size_t kMaxEntries = 65535;                // count is 16 bits
constexpr uint8_t kFlagIgnorable = 0x80;             // a receiver that does not know the type skips the frame

enum class FrameType : uint8_t {
  hello = 1,     // who I am and which versions I speak; the first frame of both sides
  requests = 2,  // inference rows and calls; seq acknowledges results
  results = 3,   // one a request; seq numbers the first
  ack = 4,       // seq acknowledges results, cumulative
  credits = 5,   // how many requests may be outstanding, for each target
  cancel = 6,    // the caller gave up on these ids
  progress = 7,  // news about calls that run long
  attach = 8,    // a peer that came back asks for what it had pending
  event = 9,     // something happened, JSON
  open = 10,     // router: seq names this version from now on
  ping = 11,     // answered by pong with the same seq
  pong = 12,
  goodbye = 13,  // no new requests please; I close when what is in flight is done
};

/// Stable lower-case name, "unknown" for a type of a later version.
std::string_view to_string(FrameType type);

struct FrameHeader {
  uint32_t length = 0;  // bytes after the header
  FrameType type = FrameType::ping;
  uint8_t flags = 0;
  uint16_t count = 0;  // entries
  uint64_t seq = 0;    // meaning depends on the type
};

enum class RequestKind : uint8_t {
  inference = 0,  // payload: the comma-separated JSON arguments without enclosing brackets, possibly empty
  call = 1,       // payload: JSON {"method","params"}
};

struct RequestEntry {
  static constexpr size_t kWireBytes = 24;
  uint64_t id = 0;
  uint32_t target = 0;       // handle given by OPEN; 0 towards a worker and for calls to the node
  uint32_t payload_len = 0;  // filled in by the writer
  uint32_t deadline_ms = 0;  // what is left when sent; 0 = none
  RequestKind kind = RequestKind::inference;
};

enum class Status : uint8_t {
  ok = 0,           // value is the JSON text of the result; for every other status it is {"error": …}
  raised = 1,       // the model raised
  malformed = 2,    // the payload is not what the mode takes
  unsendable = 3,   // the result is no JSON and cannot become any
  deadline = 4,     // time ran out before the call began
  cancelled = 5,    // by CANCEL
  worker_died = 6,  // how: in "exit"
  overloaded = 7,   // the queue is full
  not_ready = 8,    // starting, or failed to start: in "error"
  unknown = 9,      // answer to ATTACH: never arrived, safe to send again
  internal = 10,    // our own fault
};
constexpr uint8_t kStatusLast = 10;

std::string_view to_string(Status status);

struct ResultEntry {
  static constexpr size_t kWireBytes = 40;
  uint64_t id = 0;
  Status status = Status::ok;
  uint8_t flags = 0;       // reserved
  uint16_t batch = 1;      // rows answered by the same call of the model; 0 when the model was not called
  uint32_t value_len = 0;  // the three lengths are filled in by the writer
  uint32_t stdout_len = 0;
  uint32_t stderr_len = 0;
  uint32_t run_us = 0;   // wall time of the call; a batch divides it evenly, so that sums are true
  uint32_t cpu_us = 0;   // CPU time of the call, all threads, divided likewise
  uint32_t wait_us = 0;  // from receipt to the start of the call; each hop adds its own
  uint32_t rss_kib = 0;  // peak resident memory of the worker, sampled
};

struct CreditEntry {
  static constexpr size_t kWireBytes = 8;
  uint32_t target = 0;
  uint32_t limit = 0;  // absolute: how many requests may be outstanding; 0 = stop
};

struct IdEntry {  // CANCEL and ATTACH
  static constexpr size_t kWireBytes = 8;
  uint64_t id = 0;
};

struct ProgressEntry {
  static constexpr size_t kWireBytes = 16;
  uint64_t id = 0;
  uint32_t payload_len = 0;  // filled in by the writer
};

}  // namespace hearth::wire
