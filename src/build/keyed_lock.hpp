// One at a time per key: equal work is done once, and who comes later finds it done.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace hearth::build {

class KeyedLock {
 public:
  /// Held until the value goes away.
  class Held {
   public:
    explicit Held(std::shared_ptr<std::mutex> mutex) : mutex_(std::move(mutex)), lock_(*mutex_) {}

   private:
    std::shared_ptr<std::mutex> mutex_;
    std::unique_lock<std::mutex> lock_;
  };

  Held hold(const std::string& key) {
    std::shared_ptr<std::mutex> mutex;
    {
      const std::scoped_lock lock(mutex_);
      std::erase_if(mutexes_, [](const auto& item) { return item.second.use_count() == 1; });
      auto& found = mutexes_[key];
      if (!found) found = std::make_shared<std::mutex>();
      mutex = found;
    }
    return Held(std::move(mutex));
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<std::mutex>> mutexes_;
};

}  // namespace hearth::build
