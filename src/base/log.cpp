#include "base/log.hpp"

#include "base/clock.hpp"

#include <unistd.h>

#include <atomic>

namespace hearth {

namespace {

std::string role_name = "hearth";  // written once, before threads start
std::atomic<LogLevel> lowest_level = LogLevel::info;

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\n\r\t\\") == std::string_view::npos;
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (char c : value) {
    if (c == '"' || c == '\\') line += '\\';
    if (c == '\n') {
      line += "\\n";
    } else {
      line += c;
    }
  }
  line += '"';
}

}  // namespace

void log_configure(std::string_view role, LogLevel lowest) {
  role_name = role;
  lowest_level = lowest;
}

void log_write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < lowest_level.load(std::memory_order_relaxed)) return;
  std::string line = to_iso8601(wall_now());
  line += ' ';
  line += level_name(level);
  line += ' ';
  line += role_name;
  line += ": ";
  line += message;
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  // Nothing can be done about a failed write to stderr.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hearth
