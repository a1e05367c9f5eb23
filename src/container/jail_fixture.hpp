// Tests only: a jail of BusyBox (static) whose commands are checked from the inside.
#pragma once

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "container/container.hpp"

#include <gtest/gtest.h>

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace hearth::container {

inline constexpr uint32_t kTestIdBase = 1'000'000;

/// Why jails cannot be tested here; empty when they can.
inline std::string why_no_jails() {
  if (::geteuid() != 0) return "not root";
  if (!find_program("runc")) return "runc is not installed";
  if (!find_program("busybox")) return "busybox is not installed (Debian package busybox-static)";
  return "";
}

#define SKIP_WITHOUT_JAILS() \
  if (const auto why = ::hearth::container::why_no_jails(); !why.empty()) GTEST_SKIP() << "needs a jail: " << why

/// A folder of the test, removed with all that is mounted below it.
class TestFolder {
 public:
  TestFolder() : path_("/tmp/hearth-container-" + random_id(8)) {
    std::filesystem::create_directories(path_);
    std::filesystem::permissions(path_, std::filesystem::perms(0711));
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Result<>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// A layer as imagefs would hand it over.
inline UniqueFd layer_of(const std::filesystem::path& folder) {
  UniqueFd fd(::open_tree(AT_FDCWD, folder.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!fd) throw std::runtime_error("open_tree " + folder.string());
  return fd;
}

/// A root file system of BusyBox with what hostile images bring: a set-user-id program, a device node, a closed folder.
inline void make_test_root(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  for (const char* name : {"bin", "bin/setuid", "etc", "data", "closed"}) fs::create_directories(root / name);
  fs::copy_file(fs::canonical(*find_program("busybox")), root / "bin/busybox");
  for (const char* name : {"sh",     "id",   "cat",   "ls",       "stat",     "touch", "dd",    "mknod",
                           "wget",   "ip",   "sleep", "grep",     "mkdir",    "head",  "mount", "unshare",
                           "chroot", "kill", "ping",  "nslookup", "hostname", "seq",   "tail",  "true"}) {
    fs::create_symlink("busybox", root / "bin" / name);
  }
  fs::copy_file(root / "bin/busybox", root / "bin/setuid/id");
  ::chmod((root / "bin/setuid/id").c_str(), 04755);
  must(write_file_atomic(root / "etc/passwd", "root:x:0:0::/:/bin/sh\nmodel:x:1000:1000::/home/model:/bin/sh\n"));
  must(write_file_atomic(root / "data/of-root", "root's\n"));
  must(write_file_atomic(root / "data/of-model", "model's\n"));
  must(write_file_atomic(root / "closed/secret", "secret\n"));
  ::chmod((root / "closed").c_str(), 0700);
  if (::chown((root / "data/of-model").c_str(), 1000, 1000) != 0) throw std::runtime_error("chown");
  if (::mknod((root / "data/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)) != 0) throw std::runtime_error("mknod");
  ::chmod((root / "data/zero").c_str(), 0666);
}

/// Runs shell commands in fresh jails and forgets them.
class Jail : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_JAILS();
    make_test_root(folder.path() / "root");
    runtime = std::make_unique<ContainerRuntime>(must(ContainerRuntime::open(
        {.run_dir = folder.path() / "run", .cgroup_parent = parent}, std::make_shared<DirectSpawner>())));
  }
  void TearDown() override {
    if (!runtime) return;
    for (const auto& id : must(runtime->list())) must(runtime->destroy(id));
    must(must(Cgroup::open(parent)).remove());
  }

  ContainerSpec spec(const std::string& command) const {
    ContainerSpec result{
        .id = "t-" + random_id(6), .argv = {"/bin/sh", "-c", command}, .ids = {.host_base = kTestIdBase}};
    result.layers.push_back(layer_of(folder.path() / "root"));
    return result;
  }
  struct Outcome {
    int code = -1;
    std::string output;
  };
  Outcome run(ContainerSpec what) {
    Outcome outcome;
    outcome.code = must(runtime->run(
        std::move(what), [&outcome](std::string_view bytes) { outcome.output += bytes; },
        Deadline::after(mono_now(), seconds(30))));
    return outcome;
  }
  std::string output_of(const std::string& command) { return run(spec(command)).output; }

  TestFolder folder;
  std::unique_ptr<ContainerRuntime> runtime;
  std::string parent = "/hearth-test-" + random_id(6);
};

}  // namespace hearth::container
