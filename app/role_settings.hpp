// Settings of a role from three places, the later overriding the earlier: config file, environment, flags.
#pragma once

#include "app/subcommand.hpp"

#include <memory>
#include <string>
#include <vector>

namespace hearth::app {

/// Adds --config FILE to a role's subcommand. The file is TOML: keys are the flags without their dashes, at the top or
/// in a section named for the role (sections of other roles are skipped, so one file can serve all). The environment
/// variable of `hearth router --listen-fd` is HEARTH_ROUTER_LISTEN_FD; lists are separated by commas.
class RoleSettings {
 public:
  RoleSettings(CLI::App& command, std::string role);

  /// What must be given in one of the three places.
  RoleSettings& require(std::vector<std::string> flags);

  /// Called once the flags are parsed. Throws CLI::ParseError: wrong use.
  void apply() const;

 private:
  std::string environment_name(const CLI::Option& option) const;
  void apply_environment() const;
  void apply_file() const;

  CLI::App* command_;
  std::string role_;
  std::shared_ptr<std::string> file_;
  std::vector<std::string> required_;
};

/// Names the process as ps and top show it, and its log lines: "hearth-router", "router".
void begin_role(const std::string& role);

}  // namespace hearth::app
