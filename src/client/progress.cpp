#include "client/progress.hpp"

#include "base/quantity.hpp"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace hearth::client {

namespace {

constexpr milliseconds kRedrawEvery{80};
constexpr seconds kLineEvery{5};
constexpr size_t kBarWidth = 24;

size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

double seconds_since(MonoTime start) {
  return std::chrono::duration<double>(mono_now() - start).count();
}

}  // namespace

ProgressStyle default_progress_style() {
  return ::isatty(STDERR_FILENO) != 0 ? ProgressStyle::bar : ProgressStyle::lines;
}

void Progress::phase(std::string_view name, uint64_t total, std::string_view unit) {
  finish();
  name_ = name;
  unit_ = unit;
  total_ = total;
  done_ = 0;
  message_.clear();
  started_ = mono_now();
  drawn_ = {};
  if (style_ == ProgressStyle::lines) fmt::print(stderr, "{} …\n", name_);
  draw(true);
}

void Progress::advance_to(uint64_t done) {
  done_ = done;
  draw(false);
}

void Progress::message(std::string_view text) {
  message_ = text;
  draw(false);
}

void Progress::log_line(std::string_view text) {
  if (style_ == ProgressStyle::silent) return;
  const char* clear = style_ == ProgressStyle::bar ? "\r\033[K" : "";
  fmt::print(stderr, "{}  {}\n", clear, text);
  draw(true);
}

std::string Progress::figures() const {
  auto amount = [this](uint64_t value) { return unit_ == "B" ? format_bytes(value) : fmt::format("{}", value); };
  if (total_ > 0) return fmt::format("{} of {}{}", amount(done_), amount(total_), unit_ == "B" ? "" : " " + unit_);
  if (done_ > 0) return amount(done_);
  return "";
}

void Progress::draw(bool force) {
  if (name_.empty() || style_ == ProgressStyle::silent) return;
  const MonoTime now = mono_now();
  if (style_ == ProgressStyle::lines) {
    if (now - std::max(drawn_, started_) < kLineEvery) return;
    fmt::print(stderr, "  {} {} {} ({:.0f} s)\n", name_, figures(), message_, seconds_since(started_));
    drawn_ = now;
    return;
  }
  if (!force && now - drawn_ < kRedrawEvery) return;
  drawn_ = now;
  std::string line = fmt::format("{:<12} ", name_);
  if (total_ > 0) {
    const size_t full = std::min(
        kBarWidth,
        static_cast<size_t>(static_cast<double>(kBarWidth) * static_cast<double>(done_) / static_cast<double>(total_)));
    line += "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "] ";
  }
  line += fmt::format("{} {:.0f} s  {}", figures(), seconds_since(started_), message_);
  const size_t width = terminal_width();
  if (line.size() >= width) line.resize(width - 1);
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
}

void Progress::finish() {
  if (name_.empty()) return;
  if (style_ != ProgressStyle::silent) {
    const char* clear = style_ == ProgressStyle::bar ? "\r\033[K" : "";
    fmt::print(stderr, "{}{:<12} {} {:.1f} s\n", clear, name_, figures(), seconds_since(started_));
  }
  name_.clear();
}

}  // namespace hearth::client
