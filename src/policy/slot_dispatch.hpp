// Which worker gets the next requests, how many at once, and how many the routers may have outstanding. Pure.
//
// Row models: the worker with the fewest outstanding. A slow model gets one at a time, so that nothing waits behind it
// while another worker is free; a model of microseconds gets a pipeline, so that its worker never idles between frames.
// Batch models: a free worker takes everything queued, up to max_batch; a fast one may have the next batch waiting.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace hearth::policy {

enum class DispatchMode { row, batch };

/// Pipeline depth of one worker: about 4 ms of work, within 1 and 64, in powers of two so that it rarely changes.
uint32_t pipeline_depth(Duration mean_run_time);

class SlotDispatch {
 public:
  struct Limits {
    DispatchMode mode = DispatchMode::row;
    uint32_t slots = 1;
    uint32_t max_batch = 64;
  };

  /// Worker `index` is to be given up to `count` requests.
  struct Assignment {
    uint32_t index;
    uint32_t count;
  };

  explicit SlotDispatch(Limits limits);

  void worker_ready(uint32_t index);
  /// Takes no more for now; what is outstanding there goes on.
  void worker_unready(uint32_t index);
  /// Died or out of reach. What was outstanding there is the caller's to answer or send again.
  void worker_gone(uint32_t index);
  /// Adopted work: `count` requests are outstanding at the worker already.
  void adopt(uint32_t index, uint32_t count);

  /// Who takes the next of `queued` requests; nullopt when every worker has its fill. The caller sends them and
  /// reports how many with sent().
  std::optional<Assignment> next(uint64_t queued) const;
  void sent(uint32_t index, uint32_t count);
  /// One request ended. `batch` rows were answered by the same call of `run_time`; 0 rows: not run, nothing is learned.
  void done(uint32_t index, Duration run_time, uint32_t batch);

  /// Outstanding requests the routers together may have here.
  uint32_t credits() const;
  uint32_t ready_workers() const { return ready_; }
  uint32_t outstanding(uint32_t index) const { return workers_[index].outstanding; }
  uint32_t depth() const { return depth_; }
  /// Learned mean time of one model call.
  Duration mean_run_time() const { return mean_; }

 private:
  struct Worker {
    bool ready = false;
    uint32_t outstanding = 0;
  };
  uint32_t room(const Worker& worker) const;

  Limits limits_;
  std::vector<Worker> workers_;
  uint32_t ready_ = 0;
  uint32_t depth_ = 1;
  Duration mean_{};
};

}  // namespace hearth::policy
