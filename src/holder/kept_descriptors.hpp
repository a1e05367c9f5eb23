// Descriptors under names.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/message.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace hearth::holder {

/// What is kept is numbered from here on. What a child is given lies below, so that nothing kept is ever copied to it.
inline constexpr int kFirstHeld = 1152;

/// The same, numbered from kFirstHeld on, as far as the limit of open files allows.
UniqueFd out_of_the_way(UniqueFd fd);

class KeptDescriptors {
 public:
  explicit KeptDescriptors(size_t most) : most_(most) {}

  /// Whether put() with this name is in order while so many other descriptors are kept elsewhere: invalid_argument,
  /// exhausted.
  Result<> check(std::string_view name, size_t elsewhere) const;
  /// The name has been checked.
  void put(std::string_view name, UniqueFd fd);
  /// A duplicate.
  Result<UniqueFd> get(std::string_view name) const;
  /// One page of names.
  Names list(const List& list) const;
  void drop(std::string_view name);
  /// The descriptor itself; -1 when there is none.
  int find(std::string_view name) const;
  /// Drops all but these.
  void keep_only(const std::function<bool(std::string_view name)>& wanted);
  size_t size() const { return kept_.size(); }
  size_t most() const { return most_; }

 private:
  std::map<std::string, UniqueFd, std::less<>> kept_;
  size_t most_;
};

}  // namespace hearth::holder
