// Starts container runtimes through the holder, so that containers become its children and outlive the node.
#pragma once

#include "container/spawner.hpp"
#include "holder/client.hpp"

#include <memory>

namespace hearth::container {

class HolderSpawner final : public Spawner {
 public:
  explicit HolderSpawner(std::shared_ptr<holder::Client> client) : client_(std::move(client)) {}
  Result<int> run(const SpawnRequest& request) override;

 private:
  std::shared_ptr<holder::Client> client_;
};

}  // namespace hearth::container
