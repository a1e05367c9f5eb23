// Where one machine's Hearth keeps things: the data folder, and the run folder that is gone after a reboot.
#pragma once

#include "base/result.hpp"

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace hearth::supervisor {

/// Who the unprivileged roles run as. The private Redis has the next uid, and the router's gid.
struct Users {
  uid_t router = 61700;
  gid_t group() const { return router; }
  uid_t redis() const { return router + 1; }
};

struct Layout {
  std::filesystem::path data;  // absolute, links resolved
  std::filesystem::path run;   // /run/hearth/<12 hex digits of the SHA-256 of `data`>

  std::filesystem::path context() const { return data / "context.json"; }
  std::filesystem::path log(const std::string& role) const { return data / "logs" / (role + ".log"); }
  std::filesystem::path socket(const std::string& name) const { return run / (name + ".sock"); }
  std::filesystem::path state() const { return run / "supervisor.json"; }
  std::filesystem::path lock() const { return run / "supervisor.lock"; }
  std::string cgroup_parent() const { return "/hearth/" + run.filename().string(); }
};

/// Changes nothing; the data folder need not exist.
Layout locate(const std::filesystem::path& data_dir);

/// Makes all folders, with their owners. Errors say what to do: not writable, disk full, socket paths too long.
Result<> prepare(const Layout& layout, const Users& users);

/// Makes the directory store when it is not there. Refuses one that the router's user cannot write.
Result<> prepare_store(const std::filesystem::path& store, const Users& users);

/// Whether a user without capabilities can reach what lies at the path.
bool can_traverse(const std::filesystem::path& path, uid_t uid, gid_t gid);

}  // namespace hearth::supervisor
