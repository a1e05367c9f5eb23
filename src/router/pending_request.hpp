// One inference request from its arrival to its answer.
#pragma once

#include "base/clock.hpp"
#include "net/http_server.hpp"
#include "router/inference_body.hpp"
#include "wire/protocol.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace hearth::router {

struct VersionTarget;

struct PendingRow {
  uint64_t wire_id = 0;  // while in flight
  wire::Status status = wire::Status::ok;
  bool answered = false;
  std::string value;  // JSON text of the result, or of the error object
};

/// What was measured while it was served; sums over rows.
struct Measured {
  MonoTime first_sent{};
  uint64_t wait_us = 0;  // the longest of a row
  uint64_t run_us = 0;
  uint64_t cpu_us = 0;
  uint32_t rss_kib = 0;  // largest seen
};

/// Spans in `body` and `order` point into `http.body`, so a pending request never moves.
struct PendingRequest {
  PendingRequest() = default;
  PendingRequest(const PendingRequest&) = delete;
  PendingRequest& operator=(const PendingRequest&) = delete;

  uint64_t id = 0;
  std::string request_id;  // X-Request-Id
  std::string key_id;
  std::string alias;
  uint64_t fairness_key = 0;
  VersionTarget* target = nullptr;
  std::shared_ptr<net::HttpExchange> exchange;
  net::HttpRequest http;
  InferenceBody body;
  std::vector<uint32_t> order;  // of a batch's rows in the answer
  Deadline deadline;
  MonoTime arrived{};
  WallTime started{};

  std::vector<PendingRow> rows;
  uint32_t answered_rows = 0;
  uint32_t failed_rows = 0;
  int tries_left = 10;  // rows the node would not take go back to the queue, but not for ever
  std::string stdout_text;
  std::string stderr_text;
  Measured measured;

  bool is_batch() const { return body.shape == BodyShape::batch; }
};

}  // namespace hearth::router
