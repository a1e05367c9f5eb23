// For tests: a node on this machine with simulated containers, models given as Python text, and a fake router.
#pragma once

#include "base/random_id.hpp"
#include "node/fake_router.hpp"
#include "node/node.hpp"
#include "node/simulated_containers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace hearth::node {

class NodeFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("hearth-node-" + random_id(8));
    std::filesystem::create_directories(root_ / "run" / "replicas");
    std::filesystem::create_directories(root_ / "data");
    launcher_ = std::make_unique<SimulatedContainerLauncher>(
        SimulatedContainerLauncher::Folders{root_ / "run", HEARTH_RUNNER_DIR, root_ / "code"});
    start_node();
    router_ = std::make_unique<FakeRouter>(loop_, socket());
  }
  void TearDown() override {
    router_.reset();
    node_.reset();
    pool_.reset();  // finishes what is queued
    launcher_.reset();
    std::error_code error;
    std::filesystem::remove_all(root_, error);
  }

  std::filesystem::path socket() const { return root_ / "run" / "node.sock"; }

  void start_node() {
    NodeOptions options{.socket = socket(), .run_dir = root_ / "run", .data_dir = root_ / "data", .calls = calls_};
    options.router_patience = router_patience_;
    options.stuck_after = stuck_after_;
    node_ = std::make_unique<Node>(
        Node::Parts{loop_, *pool_, *pool_, *launcher_,
                    [this](const catalog::BranchRef& branch, uint32_t version) { return version_of(branch, version); }},
        std::move(options));
    const Result<> started = node_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  /// As kill -9 would: no goodbye, nothing stopped.
  void kill_node() { node_.reset(); }

  /// Deploys a model; `change` adjusts its configuration.
  void deploy(const std::string& model, const std::string& code,
              const std::function<void(catalog::ModelConfig&)>& change = nullptr) {
    std::filesystem::create_directories(root_ / "code" / model);
    ASSERT_TRUE(write_file_atomic(root_ / "code" / model / "model.py", code));
    catalog::VersionRecord record;
    record.branch = {"default", model, "main"};
    record.version = 1;
    record.config.name = model;
    record.config.handler = "model:predict";
    record.config.timeouts.idle_pause = milliseconds(0);  // never, unless a test asks for it
    record.config.timeouts.idle_stop = milliseconds(0);
    if (change) change(record.config);
    const std::lock_guard lock(versions_mutex_);
    versions_[model] = record;
  }

  /// Connects, opens the model as target 1 and waits for it.
  void serve(const std::string& model) {
    router_->connect();
    router_->open(1, model);
    router_->wait_for(1, "ready");
  }

  nlohmann::json status() const { return nlohmann::json::parse(node_->status_json()); }
  nlohmann::json replica_status() const { return status()["replicas"].at(0); }
  pid_t replica_pid() const { return replica_status()["pid"].get<pid_t>(); }
  bool wait_until(const std::function<bool()>& done) { return loop_.run_until(done, seconds(20)); }

  std::filesystem::path root_;
  net::EventLoop loop_;
  std::unique_ptr<net::BlockingPool> pool_ = std::make_unique<net::BlockingPool>(loop_, 4);
  std::unique_ptr<SimulatedContainerLauncher> launcher_;
  std::map<std::string, BlockingCall> calls_;
  Duration router_patience_ = seconds(30);
  Duration stuck_after_ = seconds(12);
  std::unique_ptr<Node> node_;
  std::unique_ptr<FakeRouter> router_;

 private:
  Result<catalog::VersionRecord> version_of(const catalog::BranchRef& branch, uint32_t version) {
    const std::lock_guard lock(versions_mutex_);
    const auto found = versions_.find(branch.model);
    if (found == versions_.end() || version != 1) return fail(ErrorCode::not_found, "no such version");
    return found->second;
  }
  std::mutex versions_mutex_;
  std::map<std::string, catalog::VersionRecord> versions_;
};

}  // namespace hearth::node
