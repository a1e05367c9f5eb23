// pip's configuration files and PIP_* variables of the host, read as pip reads them and merged into one file.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace hearth::build {

/// Option → value, as in effect for `pip install`: lists are separated by blanks.
using PipOptions = std::map<std::string, std::string>;

/// One configuration file over what is there: [install] goes before [global] whatever the order of files.
struct PipLayers {
  PipOptions global;
  PipOptions install;

  void add_file(std::string_view text);
  void add_variable(std::string_view name, std::string_view value);  // "PIP_INDEX_URL"; goes before all files
  PipOptions merged() const;

 private:
  PipOptions variables_;
};

/// A file with one [global] section.
std::string to_pip_conf(const PipOptions& options);

}  // namespace hearth::build
