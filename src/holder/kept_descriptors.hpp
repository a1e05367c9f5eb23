// Descriptors under names.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/message.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace hearth::holder {

class KeptDescriptors {
 public:
  explicit KeptDescriptors(size_t most) : most_(most) {}

  /// Whether put() would succeed with this name: invalid_argument, exhausted.
  Result<> check(std::string_view name) const;
  Result<> put(std::string_view name, UniqueFd fd);
  /// A duplicate.
  Result<UniqueFd> get(std::string_view name) const;
  /// One page of names.
  Names list(const List& list) const;
  void drop(std::string_view name);
  size_t size() const { return kept_.size(); }

 private:
  std::map<std::string, UniqueFd, std::less<>> kept_;
  size_t most_;
};

}  // namespace hearth::holder
