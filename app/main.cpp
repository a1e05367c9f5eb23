// hearth: one program, one subcommand per role and per thing a user does.
#include "app/nearest.hpp"
#include "app/subcommand.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace hearth::app {

namespace {

std::map<std::string, Registration::Add, std::less<>>& registered() {
  static std::map<std::string, Registration::Add, std::less<>> commands;
  return commands;
}

std::function<int()>& selected() {
  static std::function<int()> run;
  return run;
}

/// The innermost subcommand named on the command line.
CLI::App* innermost(CLI::App* app) {
  for (;;) {
    const std::vector<CLI::App*> parsed = app->get_subcommands();
    if (parsed.empty()) return app;
    app = parsed.back();
  }
}

std::string full_name(const CLI::App* app) {
  if (app->get_parent() == nullptr) return "hearth";
  return full_name(app->get_parent()) + " " + app->get_name();
}

std::vector<std::string> known_words(CLI::App* app) {
  std::vector<std::string> words;
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  for (const CLI::App* sub : app->get_subcommands(nullptr)) words.push_back(sub->get_name());
  return words;
}

/// One line that says what was not understood, one that says what would be.
int wrong_use(CLI::App& root, const CLI::ParseError& error) {
  CLI::App* app = innermost(&root);
  std::string message = error.what();
  std::vector<std::string> extra = root.remaining(true);
  std::erase(extra, "--");
  if (!extra.empty()) {
    message =
        "unknown " + std::string(extra.front().starts_with('-') ? "option '" : "argument '") + extra.front() + "'";
    const auto guess = nearest_word(extra.front().substr(0, extra.front().find('=')), known_words(app));
    if (guess) message += "; did you mean '" + *guess + "'?";
  }
  std::fprintf(stderr, "hearth: %s\nTry '%s --help'.\n", message.c_str(), full_name(app).c_str());
  return kWrongUse;
}

int run_program(int argc, char** argv) {
  CLI::App root("Hearth serves machine-learning models on your own machines.", "hearth");
  root.set_version_flag("--version", "hearth " HEARTH_VERSION);
  root.require_subcommand(1);
  root.get_formatter()->column_width(32);
  for (const auto& [name, add] : registered()) add(root);
  try {
    root.parse(argc, argv);
    return selected() ? selected()() : kDone;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return root.exit(error);  // --help, --version
    return wrong_use(root, error);
  }
}

}  // namespace

Registration::Registration(std::string_view name, Add add) {
  registered().emplace(name, add);
}

void on_run(CLI::App& command, std::function<int()> run) {
  command.callback([run = std::move(run)] { selected() = run; });
}

int report(const Error& error) {
  std::fprintf(stderr, "hearth: %s\n", error.message.c_str());
  return kFailed;
}

}  // namespace hearth::app

int main(int argc, char** argv) {
  return hearth::app::run_program(argc, argv);
}
