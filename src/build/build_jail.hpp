// Runs one program of a build in a container and turns its output into progress.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "build/progress.hpp"
#include "build/secret_mask.hpp"
#include "container/container.hpp"

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace hearth::build {

/// Splits output into lines, masks them, reports them and remembers the last ones.
class BuildLog {
 public:
  BuildLog(std::string phase, const SecretMask& mask, const ProgressSink& progress)
      : phase_(std::move(phase)), mask_(mask), progress_(progress) {}

  void write(std::string_view bytes);
  /// Reports what stands after the last newline.
  void finish();
  /// The last lines, joined by newlines: for errors.
  std::string tail() const;

 private:
  void line(std::string_view text);

  std::string phase_;
  const SecretMask& mask_;
  const ProgressSink& progress_;
  std::string partial_;
  std::vector<std::string> last_;
};

struct JailProgram {
  std::vector<UniqueFd> layers;
  std::filesystem::path scratch;  // an existing folder: upper/ and work/ are made in it
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::vector<container::BindMount> binds;
  std::string cwd = "/";
  container::Network network = container::Network::none;
  container::Capabilities capabilities;
  container::IdMap ids;
  Deadline deadline;
};

/// Exit status of the program. cancelled when `stop` was requested, which kills it.
Result<int> run_in_jail(container::ContainerRuntime& runtime, JailProgram program, BuildLog& log,
                        const std::stop_token& stop);

}  // namespace hearth::build
