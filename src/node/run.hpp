// hearth node: the process.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace hearth::node {

/// Host ids of user namespaces: 65,536 from here for replicas, as many after them for builds; above what distributions
/// hand out to users and containers of systemd.
inline constexpr uint32_t kDefaultIdBase = 1'879'048'192;

struct Config {
  std::filesystem::path socket;                // RUN/node.sock
  std::filesystem::path run_dir;               // RUN
  std::filesystem::path dir;                   // DATA/node
  std::string store;                           // object store: a directory or URL
  std::string redis;                           // its socket or host:port; empty: nothing is announced
  std::filesystem::path holder;                // its socket
  std::filesystem::path imagefs;               // its socket
  std::string runtime = "runc";                // name or path of an OCI runtime
  uint32_t id_base = kDefaultIdBase;           // two times 65,536 ids
  std::string node_id;                         // empty: the host's name
  std::filesystem::path runner_dir;            // empty: beside the program (share/hearth/runner or ../runner)
  std::optional<gid_t> router_gid;             // who else may connect to the socket
  uint32_t start_permits = 2;                  // starts at once
  bool keep_replicas = false;                  // SIGTERM leaves the replicas running, as SIGUSR1 always does
  Duration gc_every = std::chrono::hours(24);  // between garbage collections of the object store; zero: none
  Duration gc_grace = std::chrono::hours(1);   // how long garbage lies condemned before it goes
};

/// Serves until SIGTERM or SIGINT (replicas are stopped) or SIGUSR1 (they stay, for the next node to adopt).
/// Errors say what is missing: root, runtime, holder, store, runner.
Result<> run(const Config& config);

}  // namespace hearth::node
