#include "container/cgroup.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;

/// Every hierarchy of this machine that a Cgroup can be tried on: the real root, and the v2 tree of a hybrid machine.
std::vector<fs::path> roots() {
  std::vector<fs::path> found;
  if (::geteuid() != 0) return found;
  for (const fs::path root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    if (detect_cgroup_version(root)) found.push_back(root);
  }
  return found;
}

/// A child that spins inside a cgroup of its own.
class SpinningChild {
 public:
  SpinningChild(const fs::path& root, const std::string& path) {
    const bool v2 = detect_cgroup_version(root).value() == CgroupVersion::v2;
    std::vector<fs::path> directories;
    if (v2) {
      directories.push_back(root / path.substr(1));
    } else {
      for (const char* controller : {"cpu", "cpuacct", "memory", "freezer"}) {
        directories.push_back(root / controller / path.substr(1));
      }
    }
    pid = ::fork();
    if (pid == 0) {
      for (;;) {
      }
    }
    for (const auto& directory : directories) {
      fs::create_directories(directory);
      auto file = open_file(directory / "cgroup.procs", O_WRONLY);
      EXPECT_TRUE(file && write_all(file->get(), std::to_string(pid), "cgroup.procs"));
    }
  }
  ~SpinningChild() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  SpinningChild(const SpinningChild&) = delete;
  SpinningChild& operator=(const SpinningChild&) = delete;
  pid_t pid = -1;
};

TEST(Cgroup, ProcessIsFrozenThawedAndKilled) {
  if (roots().empty()) GTEST_SKIP() << "needs root and cgroups";
  for (const auto& root : roots()) {
    SCOPED_TRACE(root);
    const std::string path = "/hearth-test-" + random_id(6);
    auto cgroup = Cgroup::open(path, root).value();
    SpinningChild child(root, path);
    EXPECT_EQ(cgroup.process_count(), 1U);
    ASSERT_TRUE(cgroup.freeze(Deadline::after(mono_now(), seconds(60))));
    EXPECT_TRUE(cgroup.frozen().value());
    const auto cpu = cgroup.usage().value().cpu;
    std::this_thread::sleep_for(milliseconds(30));
    EXPECT_EQ(cgroup.usage().value().cpu, cpu);
    ASSERT_TRUE(cgroup.thaw());
    EXPECT_FALSE(cgroup.frozen().value());
    ASSERT_TRUE(cgroup.freeze(Deadline::after(mono_now(), seconds(60))));
    ASSERT_TRUE(cgroup.kill_all());  // frozen as it is
    int status = 0;
    ASSERT_EQ(::waitpid(child.pid, &status, 0), child.pid);
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    EXPECT_TRUE(cgroup.remove());
    EXPECT_TRUE(cgroup.remove());  // again: nothing to do
    EXPECT_EQ(cgroup.usage().error().code, ErrorCode::not_found);
    EXPECT_EQ(cgroup.oom_kills().value(), 0U);
  }
}

TEST(Cgroup, OccupiedOneIsNotRemoved) {
  if (roots().empty()) GTEST_SKIP() << "needs root and cgroups";
  const std::string path = "/hearth-test-" + random_id(6);
  auto cgroup = Cgroup::open(path).value();
  {
    const SpinningChild child(roots().front(), path);
    EXPECT_FALSE(cgroup.remove());
  }
  EXPECT_TRUE(cgroup.remove());
}

TEST(Cgroup, PathsThatLeaveTheHierarchyAreRefused) {
  for (const char* path : {"", "/", "relative", "/a/../../b"}) EXPECT_FALSE(Cgroup::open(path)) << path;
}

TEST(Cgroup, FolderWithoutControllersIsNoCgroupTree) {
  EXPECT_EQ(detect_cgroup_version("/tmp").error().code, ErrorCode::unavailable);
}

}  // namespace

}  // namespace hearth::container
