// When a process that died is started again: at once, then ever later while it keeps dying. Pure.
#pragma once

#include "base/clock.hpp"

namespace hearth::policy {

struct RestartLimits {
  Duration first_delay = milliseconds(100);  // after the second death in a row; doubles from there
  Duration longest_delay = seconds(10);
  Duration stable = seconds(10);  // a life at least this long begins a new count
};

/// One per supervised process.
class RestartBackoff {
 public:
  explicit RestartBackoff(RestartLimits limits = {}, int deaths = 0) : limits_(limits), deaths_(deaths) {}

  void on_start(MonoTime now) { started_ = now; }
  /// The process has died: when to start the next.
  MonoTime on_death(MonoTime now);
  /// Deaths so far, for ever.
  int deaths() const { return deaths_; }

 private:
  RestartLimits limits_;
  int deaths_;
  int in_a_row_ = 0;
  MonoTime started_{};
};

}  // namespace hearth::policy
