#include "net/blocking_pool.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace hearth::net {

struct BlockingPool::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> jobs;  // guarded by mutex
  bool closing = false;  // guarded by mutex
  std::vector<std::jthread> threads;

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      while (jobs.empty() && !closing) changed.wait(lock);
      if (jobs.empty()) return;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }
};

BlockingPool::BlockingPool(EventLoop& loop, size_t threads) : loop_(loop), state_(std::make_unique<State>()) {
  for (size_t i = 0; i < threads; ++i) state_->threads.emplace_back([state = state_.get()] { state->work(); });
}

BlockingPool::~BlockingPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  state_->changed.notify_all();
  state_->threads.clear();  // joins
}

void BlockingPool::submit(Job job) {
  {
    std::lock_guard lock(state_->mutex);
    state_->jobs.push_back(std::move(job));
  }
  state_->changed.notify_one();
}

Task<> BlockingPool::run_job(Job job) {
  auto initiate = [this, job = std::move(job)](auto handler) mutable {
    submit([this, job = std::move(job), handler = std::move(handler)]() mutable {
      job();
      loop_.post(std::move(handler));
    });
  };
  return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(std::move(initiate),
                                                                                   boost::asio::use_awaitable);
}

}  // namespace hearth::net
