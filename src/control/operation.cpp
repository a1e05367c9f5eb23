#include "control/operation.hpp"

#include "base/random_id.hpp"
#include "net/http_message.hpp"

#include <algorithm>
#include <utility>

namespace hearth::control {
namespace {

constexpr size_t kEventsMax = 20'000;
constexpr size_t kBytesMax = size_t{8} << 20;
constexpr size_t kRunningMax = 16;
constexpr size_t kKeptMax = 1000;
constexpr Duration kKeptFor = std::chrono::hours(1);

}  // namespace

void Operation::add(std::string event) {
  if (ended_ || full_) return;
  bytes_ += event.size();
  full_ = events_.size() >= kEventsMax || bytes_ > kBytesMax;
  events_.push_back(full_ ? R"({"message":"too much output; the rest is not shown"})" : std::move(event));
  changed_.set();
  changed_.reset();
}

void Operation::add_phase(std::string_view phase, std::string_view message) {
  add("{\"phase\":" + net::json_quote(phase) + ",\"message\":" + net::json_quote(message) + "}");
}

void Operation::succeed(std::string_view result_json) {
  end("{\"result\":" + std::string(result_json) + "}");
}

void Operation::fail(const Error& error) {
  end("{\"error\":" + net::json_quote(error.message) + ",\"code\":" + net::json_quote(to_string(error.code)) + "}");
}

void Operation::end(std::string event) {
  if (std::exchange(ended_, true)) return;
  ended_at_ = mono_now();
  events_.push_back(std::move(event));
  changed_.set();
  changed_.reset();
}

Result<std::shared_ptr<Operation>> OperationRegistry::begin(const std::string& workspace) {
  drop_old();
  const auto running = std::ranges::count_if(operations_, [&workspace](const auto& entry) {
    return !entry.second->ended() && entry.second->workspace() == workspace;
  });
  if (static_cast<size_t>(running) >= kRunningMax) {
    return fail(ErrorCode::exhausted, "too many deployments and imports run at once; wait for one to end");
  }
  auto operation = std::make_shared<Operation>(loop_, random_id(), workspace);
  operations_.emplace(operation->id(), operation);
  return operation;
}

std::shared_ptr<Operation> OperationRegistry::find(const std::string& id, std::string_view workspace) const {
  const auto found = operations_.find(id);
  if (found == operations_.end() || found->second->workspace() != workspace) return nullptr;
  return found->second;
}

void OperationRegistry::drop_old() {
  const MonoTime now = mono_now();
  std::erase_if(operations_, [now](const auto& entry) {
    return entry.second->ended() && now - entry.second->ended_at() > kKeptFor;
  });
  while (operations_.size() >= kKeptMax) {
    const auto oldest = std::ranges::min_element(operations_, {}, [](const auto& entry) {
      return entry.second->ended() ? entry.second->ended_at() : MonoTime::max();
    });
    if (!oldest->second->ended()) return;
    operations_.erase(oldest);
  }
}

}  // namespace hearth::control
