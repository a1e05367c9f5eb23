#include "net/event_loop_state.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>

namespace hearth::net {

// The waiter leaves all lists first, then the coroutine goes on later in this turn, never inside the caller's frame.
void EventLoop::State::wake_waiter(const std::shared_ptr<Event::Waiter>& waiter, Wake wake) {
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): `waiter` may be the very element that is erased
  const std::shared_ptr<Event::Waiter> keep = waiter;
  if (waiters.erase(keep) == 0) return;
  keep->timer.cancel();
  if (keep->event != nullptr) std::erase(keep->event->waiters_, keep);
  ready.emplace_back([keep, wake] { std::exchange(keep->resume, nullptr)(wake); });
}

Task<Wake> EventLoop::State::wait(Event* event, Deadline deadline) {
  auto initiate = [self = this, event, at = deadline.at()](auto handler) {
    auto waiter = std::make_shared<Event::Waiter>();
    waiter->event = event;
    waiter->resume = std::move(handler);
    self->waiters.insert(waiter);
    if (event != nullptr) event->waiters_.push_back(waiter);
    if (self->stopping) return self->wake_waiter(waiter, Wake::stopping);
    if (!at) return;
    waiter->timer = self->set_timer(*at, [self, weak = std::weak_ptr(waiter)] {
      if (auto still_waiting = weak.lock()) self->wake_waiter(still_waiting, Wake::timeout);
    });
  };
  return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Wake)>(std::move(initiate),
                                                                                       boost::asio::use_awaitable);
}

Task<Wake> EventLoop::sleep(Duration duration) {
  return state_->wait(nullptr, Deadline(mono_now() + duration));
}

void Event::set() {
  set_ = true;
  for (const auto& waiter : std::vector(waiters_)) loop_.state_->wake_waiter(waiter, Wake::signalled);
}

Task<Wake> Event::wait() {
  return wait_until({});
}

Task<Wake> Event::wait_until(Deadline deadline) {
  if (set_) co_return Wake::signalled;
  co_return co_await loop_.state_->wait(this, deadline);
}

}  // namespace hearth::net
