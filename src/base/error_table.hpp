// The one table from ErrorCode to what leaves the process: HTTP status and exit status.
#pragma once

#include "base/result.hpp"

#include <optional>
#include <string_view>

namespace hearth {

/// HTTP status of an operation that failed with this code (inference maps wire statuses, see SPECIFICATION.md).
constexpr int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 400;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::already_exists:
      return 409;
    case ErrorCode::denied:
      return 403;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::deadline_exceeded:
      return 408;
    case ErrorCode::exhausted:
      return 507;
    case ErrorCode::corrupt:
      return 500;
    case ErrorCode::cancelled:
      return 503;
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

/// Exit status of a command: 2 only for wrong use of the command line, which never is an Error.
constexpr int exit_status(ErrorCode) {
  return 1;
}

/// The code of that name; nullopt for names of a later version.
inline std::optional<ErrorCode> error_code_from(std::string_view name) {
  for (int value = 0; value <= static_cast<int>(ErrorCode::internal); ++value) {
    const auto code = static_cast<ErrorCode>(value);
    if (to_string(code) == name) return code;
  }
  return std::nullopt;
}

}  // namespace hearth
