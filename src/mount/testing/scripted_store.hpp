// SIMULATED troubles of an object store, in front of a real one.
#pragma once

#include "blob/object_store.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount::testing {

/// Range reads go through a script; everything else is the real store's. Thread-safe.
class ScriptedStore final : public blob::ObjectStore {
 public:
  struct Read {
    std::string key;
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  /// Called before each range read, without any lock; its error is the answer. Bytes are changed by `damage`.
  std::function<Result<>(const Read&)> before = [](const Read&) { return Result<>(); };
  /// Called in a streamed read, when its first kFirstBytes have been handed on and more are to come.
  std::function<void(const Read&)> midway = [](const Read&) {};
  static constexpr size_t kFirstBytes = size_t{256} << 10;
  std::function<void(const Read&, std::string&)> damage = [](const Read&, std::string&) {};

  explicit ScriptedStore(std::shared_ptr<blob::ObjectStore> real) : real_(std::move(real)) {}

  std::vector<Read> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }
  size_t read_count() const { return reads().size(); }
  /// The most range reads that were under way at once, and their bytes.
  int most_at_once() const { return most_at_once_; }
  uint64_t most_bytes_at_once() const { return most_bytes_; }

  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override {
    const Read read{std::string(key), offset, length};
    {
      const std::lock_guard lock(mutex_);
      reads_.push_back(read);
      most_at_once_ = std::max(most_at_once_.load(), ++at_once_);
      bytes_ += length;
      most_bytes_ = std::max(most_bytes_.load(), bytes_);
    }
    auto result = answer(read);
    const std::lock_guard lock(mutex_);
    --at_once_;
    bytes_ -= length;
    return result;
  }
  /// One range read, however long.
  Result<> read(std::string_view key, blob::ByteRange range, const blob::ByteSink& sink,
                const blob::Patience& /*patience*/) override {
    TRY(const auto bytes, get_range(key, range.offset, range.length));
    const std::string_view all = bytes;
    if (all.size() <= kFirstBytes) return sink(all);
    TRY_VOID(sink(all.substr(0, kFirstBytes)));
    midway({std::string(key), range.offset, range.length});
    return sink(all.substr(kFirstBytes));
  }
  Result<std::string> get(std::string_view key) override { return real_->get(key); }
  Result<blob::Created> create(std::string_view key, std::string_view bytes) override {
    return real_->create(key, bytes);
  }
  Result<blob::Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
    return real_->create_from_file(key, path);
  }
  Result<std::optional<uint64_t>> size(std::string_view key) override { return real_->size(key); }
  Result<std::vector<std::string>> list(std::string_view prefix) override { return real_->list(prefix); }
  Result<> remove(std::string_view key) override { return real_->remove(key); }

 private:
  Result<std::string> answer(const Read& read) {
    TRY_VOID(before(read));
    TRY(auto bytes, real_->get_range(read.key, read.offset, read.length));
    damage(read, bytes);
    return bytes;
  }

  std::shared_ptr<blob::ObjectStore> real_;
  mutable std::mutex mutex_;
  std::vector<Read> reads_;
  int at_once_ = 0;
  uint64_t bytes_ = 0;
  std::atomic<int> most_at_once_{0};
  std::atomic<uint64_t> most_bytes_{0};
};

/// Holds those who come until it is opened.
class Latch {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  /// Until so many are held.
  void wait_for(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, count] { return waiting_ >= count; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

}  // namespace hearth::mount::testing
