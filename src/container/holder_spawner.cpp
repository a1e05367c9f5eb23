#include "container/holder_spawner.hpp"

namespace hearth::container {

Result<int> HolderSpawner::run(const SpawnRequest& request) {
  holder::SpawnRequest asked{
      .args = request.argv, .environment = request.env, .directory = request.cwd, .output = "", .fds = {}};
  for (const auto& [target, source] : request.fds) asked.fds.emplace_back(source, target);
  TRY(const auto exit, client_->run(asked, request.deadline));
  return exit.signal != 0 ? 128 + exit.signal : exit.code;
}

}  // namespace hearth::container
