// The environment variables that say how a remote store is reached: where it is, and who we are to it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::blob {

/// A copy, so that nothing reads the process's own environment once threads run.
class StoreEnvironment {
 public:
  StoreEnvironment() = default;
  explicit StoreEnvironment(std::map<std::string, std::string, std::less<>> values) : values_(std::move(values)) {}
  /// Those of this process that is_store_variable() names, and HOME.
  static StoreEnvironment of_process();

  /// Empty values count as absent.
  std::optional<std::string> get(std::string_view name) const;
  std::string get_or(std::string_view name, std::string_view otherwise) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

/// Whether a variable is of this kind. Processes that do not use the store are started without them.
bool is_store_variable(std::string_view name);

/// Keeps the variables for of_process() and takes the secret ones out of this process's environment, so that programs
/// it starts do not inherit them. For roles, before they start threads.
void keep_store_secrets();

}  // namespace hearth::blob
