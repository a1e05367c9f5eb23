// How a subcommand joins the program without main.cpp knowing it. In app/ls.cpp:
//
//   void add_ls(CLI::App& parent) {
//     auto options = std::make_shared<Options>();
//     CLI::App* command = parent.add_subcommand("ls", "List models, versions and aliases")->group(kModelCommands);
//     command->add_flag("--json", options->json, "…");
//     on_run(*command, [options] { return list_models(*options); });
//   }
//   const Registration kRegistered("ls", add_ls);
#pragma once

#include "base/result.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <string_view>

namespace hearth::app {

/// What the program leaves behind; scripts rely on the numbers.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUse = 2;

/// Headings under which `hearth --help` lists subcommands.
inline constexpr const char* kServerCommands = "Run a server";
inline constexpr const char* kModelCommands = "Use a server";
inline constexpr const char* kRoleCommands = "Run one role alone";

/// Registers a subcommand before main starts; `hearth --help` sorts by name.
class Registration {
 public:
  using Add = void (*)(CLI::App& parent);
  Registration(std::string_view name, Add add);
};

/// `run` is called after the whole command line was understood; its value is the exit status.
/// It may throw CLI::ParseError to say "wrong use".
void on_run(CLI::App& command, std::function<int()> run);

/// Prints "hearth: <message>" on standard error; returns kFailed.
int report(const Error& error);

}  // namespace hearth::app
