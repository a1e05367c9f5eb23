// Answers as bytes: results stitched together, failures with their status. Pure.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "router/pending_request.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::router {

/// What a request ends with.
struct Answer {
  int status = 200;
  std::string body;
  std::optional<seconds> retry_after;
  size_t error_at = 0;  // where in body the error stands as JSON text, for the log
  size_t error_size = 0;
  size_t data_at = 0;  // likewise the results
  size_t data_size = 0;

  std::string_view data() const { return std::string_view(body).substr(data_at, data_size); }
  std::string_view error() const { return std::string_view(body).substr(error_at, error_size); }
};

/// HTTP status of a row the model did not answer (SPECIFICATION.md has the table).
int http_status(wire::Status status);

/// `{"error": message}`.
Answer refusal(int status, std::string_view message, std::optional<seconds> retry_after = std::nullopt);

/// All rows are answered: `{"data": result}` or `{"data": [[id, result], …]}` with what "include" asks for.
/// `single_value` is the value of a single call, wherever it lies.
Answer compose_answer(const PendingRequest& request, std::string_view single_value, MonoTime now);

/// The text of "error" in a worker's error object, as a JSON string literal; a literal made of the whole otherwise.
std::string error_literal(std::string_view error_object);

}  // namespace hearth::router
