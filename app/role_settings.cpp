#include "app/role_settings.hpp"

#include "app/nearest.hpp"
#include "base/log.hpp"
#include "blob/store_environment.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace hearth::app {

namespace {

constexpr const char* kConfigFlag = "config";

std::string flag_of(const CLI::Option& option) {
  return option.get_lnames().empty() ? "" : option.get_lnames().front();
}

bool is_setting(const CLI::Option& option) {
  const std::string flag = flag_of(option);
  return !flag.empty() && flag != "help" && flag != kConfigFlag;
}

bool takes_many(const CLI::Option& option) {
  return option.get_expected_max() > 1;
}

/// As if it had stood on the command line; conversion errors are thrown.
void give(CLI::Option& option, const std::vector<std::string>& values, const std::string& from) {
  try {
    for (const std::string& value : values) option.add_result(value);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    throw CLI::ValidationError(from, error.what());
  }
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace

RoleSettings::RoleSettings(CLI::App& command, std::string role)
    : command_(&command), role_(std::move(role)), file_(std::make_shared<std::string>()) {
  command.add_option(std::string("--") + kConfigFlag, *file_,
                     "TOML file with these settings; environment and flags win");
}

RoleSettings& RoleSettings::require(std::vector<std::string> flags) {
  required_ = std::move(flags);
  return *this;
}

std::string RoleSettings::environment_name(const CLI::Option& option) const {
  std::string name = "HEARTH_" + role_ + "_" + flag_of(option);
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

void RoleSettings::apply() const {
  apply_environment();
  apply_file();  // what is still open
  for (const std::string& flag : required_) {
    const CLI::Option* option = command_->get_option("--" + flag);
    if (option->count() > 0) continue;
    throw CLI::RequiredError("--" + flag + " (or " + environment_name(*option) + ", or '" + flag + "' in --config)");
  }
}

void RoleSettings::apply_environment() const {
  for (CLI::Option* option : command_->get_options()) {
    if (!is_setting(*option) || option->count() > 0) continue;
    const std::string name = environment_name(*option);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') continue;
    give(*option, takes_many(*option) ? split_at_commas(value) : std::vector<std::string>{value}, name);
  }
}

void RoleSettings::apply_file() const {
  if (file_->empty()) {
    const char* name = std::getenv(("HEARTH_" + role_ + "_CONFIG").c_str());
    if (name != nullptr) *file_ = name;
  }
  if (file_->empty()) return;
  std::ifstream stream(*file_);
  if (!stream) throw CLI::FileError::Missing(*file_);
  std::vector<std::string> known;
  for (const CLI::Option* option : command_->get_options()) {
    if (is_setting(*option)) known.push_back(flag_of(*option));
  }
  for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(stream)) {
    if (item.name == "++" || item.name == "--") continue;  // how CLI11 marks sections
    if (!item.parents.empty() && item.parents != std::vector<std::string>{role_}) continue;
    std::string flag = item.name;
    std::ranges::replace(flag, '_', '-');
    if (std::ranges::find(known, flag) == known.end()) {
      const auto guess = nearest_word(flag, known);
      throw CLI::ConfigError(
          *file_ + ": unknown key '" + item.name + "'" + (guess ? "; did you mean '" + *guess + "'?" : ""),
          CLI::ExitCodes::ConfigError);
    }
    CLI::Option* option = command_->get_option("--" + flag);
    if (option->count() == 0) give(*option, item.inputs, *file_);
  }
}

void begin_role(const std::string& role) {
  ::prctl(PR_SET_NAME, ("hearth-" + role).c_str());
  log_configure(role, LogLevel::info);
  blob::keep_store_secrets();  // what a role starts has no business with them
}

}  // namespace hearth::app
