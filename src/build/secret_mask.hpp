// Keeps credentials out of build logs: what the host's settings hold, and whatever stands before the '@' of a URL.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::build {

class SecretMask {
 public:
  /// Learns the passwords and tokens of URLs in the text, and the words after "password" (netrc, auth.conf).
  void learn(std::string_view text);
  void add(std::string secret);

  /// The line with every secret replaced by "****".
  std::string masked(std::string_view line) const;

  const std::vector<std::string>& secrets() const { return secrets_; }

 private:
  std::vector<std::string> secrets_;  // longest first
};

}  // namespace hearth::build
