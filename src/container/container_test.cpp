#include "container/container.hpp"

#include "container/jail_fixture.hpp"

#include <gmock/gmock.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

namespace hearth::container {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// ---- Who one is, and what one sees -------------------------------------------------------------------------

TEST_F(Jail, ProgramRunsAsTheModelUser) {
  EXPECT_EQ(output_of("id -u; id -g"), "1000\n1000\n");
}

TEST_F(Jail, FilesOfRootAreRootsInsideNever65534) {
  EXPECT_EQ(output_of("stat -c '%u %g' /data/of-root /data/of-model /bin /etc/hosts /tmp"),
            "0 0\n1000 1000\n0 0\n0 0\n0 0\n");
}

TEST_F(Jail, FolderOfRootIsClosedToTheModel) {
  EXPECT_THAT(output_of("cat /closed/secret"), AllOf(HasSubstr("Permission denied"), Not(HasSubstr("secret\n"))));
}

TEST_F(Jail, HasNoCapabilitiesNoNewPrivilegesAndAFilter) {
  const auto status = output_of("cat /proc/self/status");
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_THAT(status, HasSubstr(std::string(set) + ":\t0000000000000000\n"));
  }
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n"));
}

TEST_F(Jail, SeesOnlyItsOwnProcessesAndHostName) {
  auto what = spec("hostname; ls -d /proc/[0-9]* | head -1; ls -d /proc/[0-9]* | tail -n +4");
  what.hostname = "digits-1";
  EXPECT_EQ(run(std::move(what)).output, "digits-1\n/proc/1\n");
}

TEST_F(Jail, HostSecretsInProcAreMasked) {
  EXPECT_EQ(
      output_of("for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ ! -e $f ] || cat $f; done"),
      "");
  EXPECT_THAT(output_of("echo x > /proc/sys/kernel/hostname"), AnyOf(HasSubstr("Read-only"), HasSubstr("denied")));
}

TEST_F(Jail, EnvironmentHasPathHomeAndWhatWasGiven) {
  auto what = spec("echo $HOME $GREETING; echo $PATH");
  what.env = {"GREETING=hello"};
  EXPECT_THAT(run(std::move(what)).output, AllOf(HasSubstr("/home/model hello\n"), HasSubstr("/usr/bin")));
}

// ---- What one cannot do ------------------------------------------------------------------------------------

TEST_F(Jail, RootFileSystemIsReadOnlyEvenForRootInside) {
  auto what = spec("touch /data/new; touch /new");
  what.uid = 0;
  what.gid = 0;
  EXPECT_THAT(run(std::move(what)).output, AllOf(HasSubstr("/data/new: Read-only"), HasSubstr("/new: Read-only")));
}

TEST_F(Jail, DeviceNodesOfTheImageAreDeadAndNewOnesRefused) {
  EXPECT_THAT(output_of("head -c 1 /data/zero"), HasSubstr("Permission denied"));
  auto what = spec("mknod /tmp/zero c 1 5; cat /tmp/zero");
  what.uid = 0;
  EXPECT_THAT(run(std::move(what)).output, HasSubstr("Operation not permitted"));
}

TEST_F(Jail, SetUserIdProgramsGainNothing) {
  EXPECT_EQ(output_of("stat -c %a /bin/setuid/id; /bin/setuid/id -u"), "4755\n1000\n");
}

TEST_F(Jail, NoMountsNamespacesOrRootChanges) {
  auto what = spec("mount -t tmpfs x /tmp; unshare -U true; unshare -m true; chroot / true");
  what.uid = 0;
  const auto outcome = run(std::move(what));
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.output, Not(HasSubstr("Success")));
}

// ---- Where one can write -----------------------------------------------------------------------------------

TEST_F(Jail, ScratchFoldersAreWritableAndSized) {
  auto what = spec(
      "for d in /tmp /var/tmp /run /home/model /dev/shm; do touch $d/x && rm -f $d/x; "
      "dd if=/dev/zero of=$d/big bs=64k count=64 2>&1 | grep 'No space'; /bin/busybox rm $d/big; done");
  what.limits.tmp_bytes = 1 << 20;
  what.limits.shm_bytes = 1 << 20;
  const auto outcome = run(std::move(what));
  std::string expected;
  for (const char* scratch : {"/tmp", "/var/tmp", "/run", "/home/model", "/dev/shm"}) {
    expected += "dd: error writing '" + std::string(scratch) + "/big': No space left on device\n";
  }
  EXPECT_EQ(outcome.output, expected);
}

// ---- What is bound in --------------------------------------------------------------------------------------

TEST_F(Jail, BoundFoldersAndFilesShowRootAsRootAndAreReadOnly) {
  const auto runner = folder.path() / "runner";
  std::filesystem::create_directories(runner);
  must(write_file_atomic(runner / "main.py", "print()\n"));
  auto what = spec(
      "stat -c '%u' /hearth/runner /hearth/runner/main.py /model/w; cat /model/w; touch /hearth/runner/y; echo > "
      "/model/w");
  what.uid = 0;
  what.binds.push_back({.target = "/hearth/runner", .source = runner, .tree = {}});
  what.binds.push_back({.target = "/model/w", .source = "data/of-root", .tree = layer_of(folder.path() / "root")});
  const auto outcome = run(std::move(what));
  EXPECT_THAT(outcome.output, HasSubstr("0\n0\n0\n"));
  EXPECT_THAT(outcome.output, HasSubstr("root's\n"));  // standard error may come before it
  EXPECT_THAT(outcome.output, HasSubstr("/hearth/runner/y: Read-only"));
  EXPECT_THAT(outcome.output, HasSubstr("can't create /model/w: Read-only"));
}

TEST_F(Jail, LinkInAnArtifactCannotReachTheHost) {
  std::filesystem::create_symlink("/etc/shadow", folder.path() / "root/data/shadow");
  auto what = spec("cat /w");
  what.binds.push_back({.target = "/w", .source = "data/shadow", .tree = layer_of(folder.path() / "root")});
  auto result = runtime->run(std::move(what), [](std::string_view) {}, Deadline::after(mono_now(), seconds(30)));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("data/shadow"));
}

// ---- Network -------------------------------------------------------------------------------------------------

TEST_F(Jail, HasLoopbackAndNothingElseByDefault) {
  const auto output =
      output_of("ls /sys/class/net; ping -c 1 -w 1 127.0.0.1 2>&1; cat /proc/net/route | tail -n +2; cat /etc/hosts");
  EXPECT_THAT(output, AllOf(HasSubstr("lo\n"), Not(HasSubstr("eth0")), HasSubstr("localhost")));
  EXPECT_NE(run(spec("ip link show lo | grep -q LOWER_UP && wget -T 2 -q -O - http://192.0.2.1/")).code, 0);
}

// ---- Limits --------------------------------------------------------------------------------------------------

TEST_F(Jail, MemoryBeyondTheLimitIsKilledAndCounted) {
  auto what = spec("/bin/busybox tail /dev/zero; echo code $?; sleep 100");
  what.limits.memory_bytes = 32 << 20;
  const auto container = must(runtime->start(std::move(what)));
  auto cgroup = must(runtime->cgroup(container));
  const auto deadline = Deadline::after(mono_now(), seconds(20));
  while (must(cgroup.oom_kills()) == 0 && !deadline.passed(mono_now())) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_GE(must(cgroup.oom_kills()), 1U);
  EXPECT_TRUE(is_running(container));
}

TEST_F(Jail, ProcessesBeyondTheLimitAreRefused) {
  auto what = spec("for i in $(seq 30); do sleep 5 & done; echo all");
  what.limits.pids = 16;
  EXPECT_THAT(run(std::move(what)).output, HasSubstr("can't fork"));
}

TEST_F(Jail, CpuQuotaIsSet) {
  auto what = spec("sleep 100");
  what.limits.cpus = 0.5;
  const auto container = must(runtime->start(std::move(what)));
  const auto v2 = must(detect_cgroup_version()) == CgroupVersion::v2;
  const auto text = must(read_file("/sys/fs/cgroup" + std::string(v2 ? "" : "/cpu") + container.cgroup +
                                   (v2 ? "/cpu.max" : "/cpu.cfs_quota_us")));
  EXPECT_THAT(text, testing::StartsWith("50000"));
}

// ---- Life ----------------------------------------------------------------------------------------------------

TEST_F(Jail, ContainerIsFrozenThawedMeasuredAndDestroyed) {
  const auto container = must(runtime->start(spec("while :; do :; done")));
  EXPECT_TRUE(is_running(container));
  auto cgroup = must(runtime->cgroup(container));
  must(cgroup.freeze(Deadline::after(mono_now(), seconds(60))));
  EXPECT_TRUE(must(cgroup.frozen()));
  const auto before = must(cgroup.usage()).cpu;
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(must(cgroup.usage()).cpu, before);
  EXPECT_GT(must(cgroup.usage()).memory_bytes, 0U);
  must(cgroup.thaw());
  EXPECT_FALSE(must(cgroup.frozen()));
  const auto deadline = Deadline::after(mono_now(), seconds(10));
  while (must(cgroup.usage()).cpu <= before && !deadline.passed(mono_now()))
    std::this_thread::sleep_for(milliseconds(60));
  EXPECT_GT(must(cgroup.usage()).cpu, before);
  must(runtime->destroy(container.id));
  EXPECT_FALSE(is_running(container));
  EXPECT_FALSE(std::filesystem::exists(runtime->directory(container.id)));
  EXPECT_EQ(must(runtime->list()).size(), 0U);
}

TEST_F(Jail, FrozenContainerCanBeDestroyed) {
  const auto container = must(runtime->start(spec("sleep 1000")));
  must(must(runtime->cgroup(container)).freeze(Deadline::after(mono_now(), seconds(60))));
  must(runtime->destroy(container.id));
  EXPECT_FALSE(is_running(container));
  must(runtime->destroy(container.id));  // again: nothing to do
}

TEST_F(Jail, HostKeepsNoMountsOfARunningContainer) {
  const auto container = must(runtime->start(spec("sleep 1000")));
  EXPECT_THAT(must(read_file("/proc/self/mountinfo")), Not(HasSubstr(container.id)));
  EXPECT_TRUE(is_running(container));
}

TEST_F(Jail, PassedListenersAreUsableFromDescriptorThree) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const auto path = folder.path() / "s.sock";
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto what = spec("ls -l /proc/self/fd; sleep 0");
  what.listen_fds = {listener.get(), listener.get()};
  const auto output = run(std::move(what)).output;
  EXPECT_THAT(output,
              AllOf(HasSubstr(" 3 -> socket:["), HasSubstr(" 4 -> socket:["), Not(HasSubstr(" 5 -> socket:["))));
}

TEST_F(Jail, FailedStartSaysWhyAndLeavesNothing) {
  auto what = spec("");
  what.argv = {"/bin/no-such-program"};
  const auto started = runtime->start(std::move(what));
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("no such file or directory"));
  EXPECT_EQ(must(runtime->list()).size(), 0U);
}

TEST_F(Jail, IdInUseIsRefusedAndTheRunningOneUntouched) {
  auto first = spec("sleep 1000");
  const std::string id = first.id;
  const auto container = must(runtime->start(std::move(first)));
  auto second = spec("true");
  second.id = id;
  const auto started = runtime->start(std::move(second));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::already_exists);
  EXPECT_TRUE(is_running(container));
}

// ---- Build containers ----------------------------------------------------------------------------------------

TEST_F(Jail, BuildContainerWritesALayerAsRootOfItsOwn) {
  const auto build = folder.path() / "build";
  std::filesystem::create_directories(build / "upper");
  std::filesystem::create_directories(build / "work");
  auto what = spec(
      "set -e; mkdir -p /opt/packages; echo numbers > /opt/packages/numpy; busybox chown 5:6 /opt/packages/numpy; "
      "busybox chmod 4755 /opt/packages/numpy; busybox rm /data/of-model; echo more >> /data/of-root; touch "
      "/tmp/scratch; "
      "stat -c %u /data/of-root; if mount -t tmpfs x /mnt 2>/dev/null; then echo mounted; fi");
  what.uid = 0;
  what.gid = 0;
  what.capabilities = build_capabilities();
  what.writable = WritableLayer{.upper = build / "upper", .work = build / "work"};
  const auto outcome = run(std::move(what));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(outcome.output, "0\n");
  struct stat status{};
  ASSERT_EQ(::lstat((build / "upper/opt/packages/numpy").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 5U);
  EXPECT_EQ(status.st_gid, 6U);
  EXPECT_EQ(status.st_mode & 07777, 04755U);
  ASSERT_EQ(::lstat((build / "upper/data/of-model").c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(must(read_file(build / "upper/data/of-root")), "root's\nmore\n");
  EXPECT_EQ(must(read_file(folder.path() / "root/data/of-root")), "root's\n");
  for (const char* scratch : {"tmp", "etc", "hearth", "run"}) {
    EXPECT_FALSE(std::filesystem::exists(build / "upper" / scratch)) << scratch << " got into the layer";
  }
}

TEST_F(Jail, ReplicaGetsNeitherTheHostsNetworkNorItsFoldersToWrite) {
  auto networked = spec("true");
  networked.network = Network::host;
  EXPECT_EQ(runtime->start(std::move(networked)).error().code, ErrorCode::invalid_argument);
  auto writing = spec("true");
  writing.binds.push_back({.target = "/w", .source = folder.path(), .tree = {}, .access = Access::read_write});
  EXPECT_EQ(runtime->start(std::move(writing)).error().code, ErrorCode::invalid_argument);
}

TEST_F(Jail, RunIsEndedByItsDeadline) {
  const auto result =
      runtime->run(spec("sleep 1000"), [](std::string_view) {}, Deadline::after(mono_now(), seconds(1)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::deadline_exceeded);
  EXPECT_EQ(must(runtime->list()).size(), 0U);
}

TEST_F(Jail, ExitCodeComesBack) {
  EXPECT_EQ(run(spec("exit 42")).code, 42);
}

TEST(ContainerRuntime, MissingRuntimeIsNamedWithItsRemedy) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto opened =
      ContainerRuntime::open({.runtime = "no-such-runc", .run_dir = "/tmp", .cgroup_parent = "/x"}, nullptr);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, AllOf(HasSubstr("no-such-runc"), HasSubstr("apt-get install runc")));
}

}  // namespace

}  // namespace hearth::container
