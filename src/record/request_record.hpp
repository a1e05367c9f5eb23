// One request as it is remembered: the line of `hearth logs`, and what usage is counted from.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::record {

/// Where the time of a request went. total is from its first byte to its answer.
struct Timings {
  std::chrono::microseconds queue{0};  // in the router, before it was sent
  std::chrono::microseconds wait{0};   // in node and worker, before the call
  std::chrono::microseconds run{0};    // in the model
  std::chrono::microseconds total{0};
};

/// Plain values; nothing here is validated.
struct RequestRecord {
  static constexpr size_t kTextLimit = 64 * 1024;  // bytes of results, stdout, stderr, error each; the rest is cut off

  std::string id;  // request id, as answered in X-Request-Id
  std::string workspace;
  std::string model;
  std::string branch;
  uint32_t version = 0;
  std::string alias;   // as named by the caller: "latest", "prod"; empty when named by number
  std::string key_id;  // of the key used
  WallTime started;
  Timings timings;
  uint32_t status = 0;  // HTTP status
  uint32_t rows = 1;
  uint32_t failed_rows = 0;
  std::string results;  // JSON text as answered, or empty
  std::string stdout_text;
  std::string stderr_text;
  std::string error;       // JSON text of the worker's error object, or empty
  uint64_t cpu_us = 0;     // CPU time of the calls
  uint64_t rss_kib = 0;    // largest resident size seen
  uint64_t bytes_in = 0;   // request body
  uint64_t bytes_out = 0;  // answer body
  std::string node;        // who ran it
  std::string replica;
};

/// Appends one JSON line with its '\n'. Texts of caller and model are stored as JSON strings whatever they hold; bytes
/// that are not UTF-8 are replaced by U+FFFD. `without_text` leaves out results, stdout, stderr and error.
enum class Texts { keep, drop };
void append_json_line(std::string& out, const RequestRecord& record, Texts texts = Texts::keep);

/// The record of one stored line (with or without '\n'). corrupt when it is none, e.g. torn by a power failure.
Result<RequestRecord> parse_record(std::string_view json_line);

/// A stored line as users read it: `results` and `error` are nested JSON where they are valid JSON. Without '\n'.
Result<std::string> readable_line(std::string_view json_line);

}  // namespace hearth::record
