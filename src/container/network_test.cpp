#include "container/network.hpp"

#include "container/jail_fixture.hpp"

#include <gmock/gmock.h>

#include <thread>

namespace hearth::container {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// ---- resolv.conf -------------------------------------------------------------------------------------------

class ResolvConf : public testing::Test {
 protected:
  Result<std::string> of(const std::string& text) {
    must(write_file_atomic(folder.path() / "resolv.conf", text));
    return jail_resolv_conf(folder.path(), folder.path() / "resolved");
  }
  TestFolder folder;
};

TEST_F(ResolvConf, ReachableServersAndSearchDomainsAreKept) {
  EXPECT_EQ(
      of("# comment\nsearch example.org\nnameserver 10.0.0.2\nnameserver 127.0.0.53\nnameserver fd00::1\n").value(),
      "search example.org\nnameserver 10.0.0.2\n");
}

TEST_F(ResolvConf, LoopbackResolverLeadsToTheOneBehindIt) {
  must(write_file_atomic(folder.path() / "resolved", "nameserver 10.0.0.9\n"));
  EXPECT_EQ(of("nameserver 127.0.0.53\n").value(), "nameserver 10.0.0.9\n");
}

TEST_F(ResolvConf, NoReachableServerSaysWhatToDo) {
  EXPECT_THAT(of("nameserver 127.0.0.1\n").error().message,
              AllOf(HasSubstr("loopback"), HasSubstr("/etc/resolv.conf")));
}

// ---- Jails with a network ----------------------------------------------------------------------------------

std::string run_shell(const std::string& script) {
  return must(run_process({.args = {"sh", "-c", script}, .deadline = Deadline::after(mono_now(), seconds(20))})).output;
}

/// Until somebody listens on the TCP port in the network namespace of the process.
void wait_for_listener(pid_t pid, const std::string& port_in_hex) {
  const auto deadline = Deadline::after(mono_now(), seconds(10));
  const std::string net = "/proc/" + std::to_string(pid) + "/net/";
  while (!(must(read_file(net + "tcp")) + must(read_file(net + "tcp6"))).contains(":" + port_in_hex + " ")) {
    if (deadline.passed(mono_now())) throw std::runtime_error("nobody listens on port 0x" + port_in_hex);
    std::this_thread::sleep_for(milliseconds(10));
  }
}

/// A machine "outside": a network namespace behind the host that knows no way to the jails' addresses, so that only
/// translated packets are answered. It greets whoever connects to port 8099 with the address it sees.
class Outside {
 public:
  Outside() {
    run_shell("ip netns add " + name_ + " && ip link add " + link_ + " type veth peer name eth0 netns " + name_ +
              " && ip address add 198.51.100.1/24 dev " + link_ + " && ip link set " + link_ + " up && ip -n " + name_ +
              " address add 198.51.100.2/24 dev eth0 && ip -n " + name_ + " link set eth0 up");
    server_ = std::jthread([this] {
      run_shell("timeout 15 ip netns exec " + name_ +
                " busybox nc -ll -p 8099 -e sh -c 'echo hello from outside to $NCREMOTEADDR; netstat -tn 2>/dev/null'");
    });
  }
  ~Outside() {
    run_shell("for p in $(ip netns pids " + name_ + "); do kill $p; done; ip netns delete " + name_ +
              "; ip link delete " + link_ + " 2>/dev/null");
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

 private:
  std::string name_ = "ht" + random_id(6);
  std::string link_ = "ht" + random_id(6);
  std::jthread server_;
};

class NetworkedJail : public Jail {
 protected:
  void SetUp() override {
    Jail::SetUp();
    if (!IsSkipped() && !find_program("ip")) GTEST_SKIP() << "needs iproute2";
  }
  std::string output_with_network(const std::string& command) {
    auto what = spec(command);
    what.network = Network::nat;
    return run(std::move(what)).output;
  }
};

TEST_F(NetworkedJail, ReachesTheOutsideThroughTranslation) {
  const Outside outside;
  EXPECT_THAT(output_with_network("for i in $(seq 50); do busybox nc -w 2 198.51.100.2 8099 </dev/null && break; "
                                  "busybox usleep 100000; done"),
              HasSubstr("hello from outside"));
}

TEST_F(NetworkedJail, HasOneInterfaceARouteAndAResolver) {
  const auto output = output_with_network("ls /sys/class/net; ip route; cat /etc/resolv.conf; cat /etc/hosts");
  EXPECT_THAT(output,
              AllOf(HasSubstr("eth0"), HasSubstr("default via"), HasSubstr("nameserver"), HasSubstr("replica")));
}

TEST_F(NetworkedJail, HostItselfIsOutOfReach) {
  const auto server = std::jthread([] { run_shell("timeout 5 busybox nc -l -p 8098 -e echo secret of the host"); });
  wait_for_listener(::getpid(), "1FA2");
  const auto output = output_with_network(
      "gateway=$(ip route | busybox sed -n 's/default via \\([0-9.]*\\).*/\\1/p'); "
      "busybox nc -w 2 $gateway 8098 </dev/null; echo code $?");
  EXPECT_THAT(output, AllOf(Not(HasSubstr("secret")), Not(HasSubstr("code 0"))));
}

TEST_F(NetworkedJail, JailsDoNotReachEachOther) {
  auto what = spec("ip address show eth0 > /tmp/a; busybox nc -ll -p 8097 -e echo secret of the other");
  what.network = Network::nat;
  const auto other = must(runtime->start(std::move(what)));
  const auto address =
      run_shell("grep -l " + runtime->directory(other.id).string() + " /run/hearth/network/* | sed 's/.*\\///'");
  const auto output = output_with_network("busybox nc -w 2 " + address.substr(0, address.find('\n')) +
                                          " 8097 </dev/null; echo code $?");
  EXPECT_THAT(output, AllOf(Not(HasSubstr("secret")), Not(HasSubstr("code 0"))));
}

TEST_F(NetworkedJail, AddressIsGivenBack) {
  auto what = spec("sleep 100");
  what.network = Network::nat;
  const auto container = must(runtime->start(std::move(what)));
  const auto leases = "grep -ls " + runtime->directory(container.id).string() + " /run/hearth/network/* | wc -l";
  EXPECT_EQ(run_shell(leases), "1\n");
  must(runtime->destroy(container.id));
  EXPECT_EQ(run_shell(leases), "0\n");
}

}  // namespace

}  // namespace hearth::container
