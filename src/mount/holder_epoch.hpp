// A name that lives as long as a holder does: an imagefs that finds it knows that it was never away for long enough for
// anybody to touch its files unseen.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/client.hpp"

#include <string>

namespace hearth::mount {

class HolderEpoch {
 public:
  /// The holder's, or a new one that is kept there from now on. Errors: of the holder.
  static Result<HolderEpoch> adopt(holder::Client& client);

  /// Random; what was verified under another name is verified again.
  const std::string& name() const { return name_; }
  /// Gives it to a new holder: we were here all the time.
  Result<> keep(holder::Client& client) const;

 private:
  std::string name_;
  UniqueFd file_;  // in memory; holds the name
};

}  // namespace hearth::mount
