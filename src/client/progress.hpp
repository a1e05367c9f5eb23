// Progress on stderr: one redrawn bar on a terminal, a line now and then elsewhere. Not thread-safe.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::client {

enum class ProgressStyle { bar, lines, silent };

/// bar on a terminal, lines when stderr is a file or pipe.
ProgressStyle default_progress_style();

class Progress {
 public:
  explicit Progress(ProgressStyle style = default_progress_style()) : style_(style) {}
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Begins a phase; ends the one before. total 0 = unknown length. `unit` is "B" for bytes, else a plural noun.
  void phase(std::string_view name, uint64_t total, std::string_view unit);
  void advance_to(uint64_t done);
  void set_total(uint64_t total) { total_ = total; }
  /// The phase runs on, now doing this.
  void message(std::string_view text);
  /// A line of its own above the bar (build log).
  void log_line(std::string_view text);
  /// Ends the current phase with its time.
  void finish();

 private:
  void draw(bool force);
  std::string figures() const;

  ProgressStyle style_;
  std::string name_;
  std::string unit_;
  std::string message_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  MonoTime started_{};
  MonoTime drawn_{};
};

}  // namespace hearth::client
