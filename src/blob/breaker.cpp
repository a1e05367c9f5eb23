#include "blob/breaker.hpp"

#include <algorithm>

namespace hearth::blob {

bool Breaker::may_try(MonoTime now) {
  if (!open()) return true;
  if (trying_ || now < until_) return false;
  trying_ = true;
  return true;
}

void Breaker::on_success() {
  failed_ = 0;
  rest_ = Duration::zero();
  trying_ = false;
}

void Breaker::on_failure(MonoTime now) {
  if (open() && !trying_) return;  // began before it opened
  trying_ = false;
  if (++failed_ < limits_.failures && !open()) return;
  rest_ = open() ? std::min(rest_ * 2, limits_.longest_rest) : limits_.first_rest;
  until_ = now + rest_;
}

void Breaker::on_nothing() {
  trying_ = false;
}

}  // namespace hearth::blob
