// Descriptors that must outlive imagefs, kept in the holder by name; when the holder is replaced, they are given to the
// next one.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/client.hpp"
#include "mount/holder_epoch.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hearth::mount {

/// Thread-safe. For back ends that have no events; HolderLink does the same for the one that has.
class DescriptorKeeper {
 public:
  /// Errors: unavailable (no holder).
  static Result<std::unique_ptr<DescriptorKeeper>> open(std::filesystem::path socket);
  ~DescriptorKeeper();
  DescriptorKeeper(const DescriptorKeeper&) = delete;
  DescriptorKeeper& operator=(const DescriptorKeeper&) = delete;

  const std::string& epoch() const { return epoch_.name(); }
  holder::Client& client() { return client_; }

  /// All that the holder has under the prefix, kept by whomever.
  Result<std::vector<std::pair<std::string, UniqueFd>>> inherit(std::string_view prefix);
  /// The descriptor is borrowed: it stays open until its name is dropped. Remembered even when the holder is away.
  Result<> keep(const std::string& name, int fd);
  void drop(const std::string& name);

 private:
  explicit DescriptorKeeper(std::filesystem::path socket) : socket_(std::move(socket)), client_(socket_) {}
  void run(const std::stop_token& stop);
  Result<> watch(const std::stop_token& stop);
  Result<> hand_over_again();

  std::filesystem::path socket_;
  holder::Client client_;
  HolderEpoch epoch_;
  std::mutex mutex_;
  std::map<std::string, int> kept_;
  std::jthread thread_;
};

}  // namespace hearth::mount
