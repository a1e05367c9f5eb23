// hearth completion: scripts that let a shell complete subcommands and options. Made from the program's own tree of
// commands, so that they cannot fall behind it.
#include "app/subcommand.hpp"

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hearth::app {

namespace {

/// "hearth key" → {"create", "ls", "revoke", "--help", …}
using Words = std::map<std::string, std::vector<std::string>>;

void collect(CLI::App& app, const std::string& path, Words& words) {
  std::vector<std::string>& here = words[path];
  for (CLI::App* sub : app.get_subcommands(nullptr)) {
    here.push_back(sub->get_name());
    collect(*sub, path + " " + sub->get_name(), words);
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) here.push_back("--" + name);
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string bash_script(const Words& words) {
  std::string cases;
  for (const auto& [path, known] : words) cases += "    \"" + path + "\") words=\"" + joined(known) + "\" ;;\n";
  return R"(_hearth() {
  local path=hearth words word current=${COMP_WORDS[COMP_CWORD]}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      -*) ;;
      *) case "$path $word" in
)" +
         [&words] {
           std::string known_paths;
           for (const auto& [path, known] : words) {
             if (path != "hearth") known_paths += "        \"" + path + "\") path=\"" + path + "\" ;;\n";
           }
           return known_paths;
         }() +
         R"(         esac ;;
    esac
  done
  case $path in
)" + cases +
         R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _hearth hearth
)";
}

std::string zsh_script(const Words& words) {
  return "#compdef hearth\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script(words);
}

std::string fish_script(const Words& words) {
  std::string out = "complete -c hearth -f\n";
  for (const auto& [path, known] : words) {
    std::string condition = "__fish_use_subcommand";
    if (path != "hearth") {
      condition = "__fish_seen_subcommand_from " + path.substr(path.rfind(' ') + 1);
    }
    for (const std::string& word : known) {
      const bool option = word.starts_with("--");
      out += "complete -c hearth -n '" + condition + "' " + (option ? "-l " + word.substr(2) : "-a " + word) + "\n";
    }
  }
  return out;
}

void add_completion(CLI::App& parent) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      parent.add_subcommand("completion", "Print a completion script for a shell")->group(kServerCommands);
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("For bash: hearth completion bash > /etc/bash_completion.d/hearth");
  on_run(*command, [shell, &parent] {
    Words words;
    collect(parent, "hearth", words);
    const std::string script = *shell == "fish"  ? fish_script(words)
                               : *shell == "zsh" ? zsh_script(words)
                                                 : bash_script(words);
    std::fputs(script.c_str(), stdout);
    return kDone;
  });
}

const Registration kRegistered("completion", add_completion);

}  // namespace

}  // namespace hearth::app
