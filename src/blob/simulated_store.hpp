// A simulated object store in memory, for tests: every call is counted and may be watched, held up or failed.
#pragma once

#include "base/file.hpp"
#include "blob/object_store.hpp"

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

class SimulatedStore final : public ObjectStore {
 public:
  enum class Call { get, create, size, list, remove };
  struct Event {
    Call call;
    std::string key;
    bool operator==(const Event&) const = default;
  };

  /// Called before each call, without a lock: may block. An error is the call's answer.
  std::function<Result<>(const Event&)> before;
  /// Called after a call that changed something, with the lock held: looks at `objects` and does not call back.
  std::function<void(const Event&)> changed;

  Result<std::string> get(std::string_view key) override {
    TRY_VOID(begin(Call::get, key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return fail(ErrorCode::not_found, "no object " + std::string(key));
    return found->second;
  }
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override {
    TRY(const std::string bytes, get(key));
    if (offset > bytes.size() || length > bytes.size() - offset) {
      return fail(ErrorCode::corrupt, "object " + std::string(key) + " is shorter");
    }
    return bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
  }
  Result<Created> create(std::string_view key, std::string_view bytes) override {
    TRY_VOID(begin(Call::create, key));
    const std::lock_guard lock(mutex_);
    if (!objects_.emplace(key, bytes).second) return Created::no;
    if (changed) changed({Call::create, std::string(key)});
    return Created::yes;
  }
  Result<Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
    TRY(const std::string bytes, read_file(path));
    return create(key, bytes);
  }
  Result<std::optional<uint64_t>> size(std::string_view key) override {
    TRY_VOID(begin(Call::size, key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return std::optional<uint64_t>();
    return std::optional<uint64_t>(found->second.size());
  }
  Result<std::vector<std::string>> list(std::string_view prefix) override {
    TRY(const auto objects, list_objects(prefix));
    std::vector<std::string> keys;
    for (const ObjectInfo& object : objects) keys.push_back(object.key);
    return keys;
  }
  Result<std::vector<ObjectInfo>> list_objects(std::string_view prefix) override {
    TRY_VOID(begin(Call::list, prefix.empty() ? std::string_view("/") : prefix));
    const std::lock_guard lock(mutex_);
    std::vector<ObjectInfo> objects;
    for (auto at = objects_.lower_bound(prefix); at != objects_.end() && at->first.starts_with(prefix); ++at) {
      objects.push_back({at->first, at->second.size()});
    }
    return objects;
  }
  Result<> remove(std::string_view key) override {
    TRY_VOID(begin(Call::remove, key));
    const std::lock_guard lock(mutex_);
    if (const auto found = objects_.find(key); found != objects_.end()) {
      objects_.erase(found);
      if (changed) changed({Call::remove, std::string(key)});
    }
    return {};
  }

  /// What is in it, for `changed` and for tests while nobody else is at work.
  const std::map<std::string, std::string, std::less<>>& objects() const { return objects_; }
  std::map<std::string, std::string, std::less<>>& objects() { return objects_; }
  std::vector<Event> events() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  Result<> begin(Call call, std::string_view key) {
    if (call != Call::list) TRY_VOID(check_key(key));
    const Event event{call, std::string(key)};
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    }
    return before ? before(event) : Result<>();
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> objects_;
  std::vector<Event> events_;
};

}  // namespace hearth::blob
