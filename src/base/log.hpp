// Structured log lines on stderr: time, level, role, message, key=value pairs. Thread-safe; one write(2) a line.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace hearth {

enum class LogLevel { debug, info, warning, error };

/// One key=value pair of a log line.
struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::integral auto v) : key(k), value(std::to_string(v)) {}
};

/// Called once by main before threads start. `role` stands in every line, e.g. "router".
void log_configure(std::string_view role, LogLevel lowest);

void log_write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields);

/// warning = the world or the client did something unexpected; error = we failed.
inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) {
  log_write(LogLevel::debug, m, f);
}
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) {
  log_write(LogLevel::info, m, f);
}
inline void log_warning(std::string_view m, std::initializer_list<LogField> f = {}) {
  log_write(LogLevel::warning, m, f);
}
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) {
  log_write(LogLevel::error, m, f);
}

}  // namespace hearth
