#include "blob/hedge_policy.hpp"

#include <algorithm>

namespace hearth::blob {

namespace {

constexpr uint64_t kFirstClassBytes = 64 * 1024;
constexpr double kPercentile = 0.95;

}  // namespace

size_t HedgePolicy::class_of(uint64_t bytes) {
  size_t index = 0;
  for (uint64_t limit = kFirstClassBytes; bytes > limit && index + 1 < kClasses; limit *= 4) ++index;
  return index;
}

void HedgePolicy::on_request() {
  budget_ = std::min(budget_ + limits_.share, limits_.saved_max);
}

void HedgePolicy::on_answer(uint64_t bytes, Duration took) {
  Class& of_size = classes_[class_of(bytes)];
  of_size.took[of_size.count % kWindow] = took;
  ++of_size.count;
}

std::optional<Duration> HedgePolicy::patience(uint64_t bytes) const {
  const Class& of_size = classes_[class_of(bytes)];
  if (of_size.count < kEnough) return std::nullopt;
  const size_t known = std::min(of_size.count, kWindow);
  std::array<Duration, kWindow> sorted = of_size.took;
  const auto rank = static_cast<size_t>(kPercentile * static_cast<double>(known - 1));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                   sorted.begin() + static_cast<std::ptrdiff_t>(known));
  return std::clamp(sorted[rank], limits_.delay_min, limits_.delay_max);
}

bool HedgePolicy::spend() {
  if (budget_ < 1) return false;
  budget_ -= 1;
  return true;
}

}  // namespace hearth::blob
