#include "container/network.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"

#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <vector>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kBridge = "hearth0";
constexpr const char* kDirectory = "/run/hearth/network";  // of the machine: one file a lease, named by its address
constexpr uint32_t kHosts = 4094;                          // of a /20
constexpr int kPrefix = 20;
constexpr seconds kToolTimeout{20};

/// Tried in order; the first that meets no route of the machine is taken.
constexpr auto kNetworks =
    std::to_array<std::string_view>({"10.213.0.0", "172.30.208.0", "192.168.208.0", "10.87.16.0", "100.99.32.0"});

uint32_t parse_address(std::string_view text) {
  in_addr address{};
  return ::inet_pton(AF_INET, std::string(text).c_str(), &address) == 1 ? ntohl(address.s_addr) : 0;
}

std::string to_text(uint32_t value) {
  const in_addr address{htonl(value)};
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

Result<std::string> run_tool(std::vector<std::string> args, std::string input = "") {
  const std::string name = args[0];
  const auto path = find_program(name);
  if (!path) {
    return fail(
        ErrorCode::unavailable,
        "the program \"" + name + "\" is missing and a network was asked for: apt-get install iproute2 iptables");
  }
  args[0] = *path;
  std::string line = name;
  for (size_t i = 1; i < args.size(); ++i) line += " " + args[i];
  TRY(auto done,
      run_process(
          {.args = std::move(args), .input = std::move(input), .deadline = Deadline::after(mono_now(), kToolTimeout)}));
  if (done.code != 0) return fail(ErrorCode::unavailable, line + ": " + done.output);
  return std::move(done.output);
}

/// Serializes the changes of several Hearths to the machine's bridge and leases.
Result<UniqueFd> lock_machine() {
  TRY_VOID(make_directories(kDirectory, 0755));
  TRY(auto lock, open_file(std::string(kDirectory) + "/.lock", O_RDWR | O_CREAT, 0600));
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno("lock the network", errno);
  }
  return lock;
}

/// Address of the bridge; nullopt when it is not there.
Result<std::optional<uint32_t>> bridge_address() {
  auto shown = run_tool({"ip", "-j", "-4", "address", "show", "dev", kBridge});
  if (!shown) {
    if (shown.error().message.contains("does not exist")) return std::nullopt;
    return Unexpected(std::move(shown).error());
  }
  const json links = json::parse(*shown, nullptr, false);
  if (!links.is_array()) return std::nullopt;
  for (const auto& link : links) {
    for (const auto& address : link.value("addr_info", json::array())) {
      if (const auto value = parse_address(address.value("local", ""))) return value;
    }
  }
  return std::nullopt;
}

struct Range {
  uint32_t first;
  uint32_t last;
};

Range range_of(uint32_t network, int prefix) {
  const uint32_t mask = prefix == 0 ? 0 : ~uint32_t{0} << (32 - prefix);
  return {network & mask, network | ~mask};
}

Result<uint32_t> free_network() {
  TRY(const auto shown, run_tool({"ip", "-j", "-4", "route", "show", "table", "all"}));
  const json routes = json::parse(shown, nullptr, false);
  for (const auto candidate : kNetworks) {
    const Range ours = range_of(parse_address(candidate), kPrefix);
    bool meets = false;
    for (const auto& route : routes.is_array() ? routes : json::array()) {
      const std::string destination = route.value("dst", "");
      const auto slash = destination.find('/');
      if (destination == "default" || parse_address(destination.substr(0, slash)) == 0) continue;
      const int prefix = slash == std::string::npos ? 32 : std::stoi(destination.substr(slash + 1));
      const Range theirs = range_of(parse_address(destination.substr(0, slash)), prefix);
      meets = meets || (ours.first <= theirs.last && theirs.first <= ours.last);
    }
    if (!meets) return ours.first;
  }
  return fail(ErrorCode::unavailable,
              "every address range Hearth would use for jails is routed elsewhere on this machine");
}

Result<> make_rules(uint32_t network) {
  const std::string range = to_text(network) + "/" + std::to_string(kPrefix);
  const std::string bridge = kBridge;
  std::string rules =
      "*filter\n"
      ":HEARTH-FORWARD - [0:0]\n"
      ":HEARTH-INPUT - [0:0]\n";
  for (const char* protocol : {"udp", "tcp"}) {  // some clouds resolve names at a link-local address
    rules += "-A HEARTH-FORWARD -i " + bridge + " -d 169.254.0.0/16 -p " + protocol + " --dport 53 -j ACCEPT\n";
    rules += "-A HEARTH-INPUT -i " + bridge + " -p " + protocol + " --dport 53 -j ACCEPT\n";
  }
  rules += "-A HEARTH-FORWARD -i " + bridge + " -d 169.254.0.0/16 -j REJECT\n";
  rules += "-A HEARTH-FORWARD -i " + bridge + " -o " + bridge + " -j REJECT\n";
  rules += "-A HEARTH-FORWARD -i " + bridge + " -j ACCEPT\n";
  rules += "-A HEARTH-FORWARD -o " + bridge + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
  rules += "-A HEARTH-FORWARD -o " + bridge + " -j REJECT\n";
  rules += "-A HEARTH-INPUT -i " + bridge + " -j REJECT\n";
  rules += "COMMIT\n*nat\n:HEARTH-NAT - [0:0]\n";
  rules += "-A HEARTH-NAT -s " + range + " ! -o " + bridge + " -j MASQUERADE\nCOMMIT\n";
  TRY_VOID(run_tool({"iptables-restore", "--noflush", "-w", "10"}, rules));
  const std::vector<std::vector<std::string>> jumps = {{"filter", "FORWARD", "HEARTH-FORWARD"},
                                                       {"filter", "INPUT", "HEARTH-INPUT"},
                                                       {"nat", "POSTROUTING", "HEARTH-NAT"}};
  for (const auto& jump : jumps) {
    if (run_tool({"iptables", "-w", "10", "-t", jump[0], "-C", jump[1], "-j", jump[2]})) continue;
    TRY_VOID(run_tool({"iptables", "-w", "10", "-t", jump[0], "-I", jump[1], "1", "-j", jump[2]}));
  }
  return {};
}

Result<> make_bridge(uint32_t network) {
  const std::string bridge = kBridge;
  // A bridge may be there without address, from a run that was killed between the two.
  if (!fs::exists("/sys/class/net/" + bridge)) TRY_VOID(run_tool({"ip", "link", "add", bridge, "type", "bridge"}));
  const std::string commands = "address replace " + to_text(network + 1) + "/" + std::to_string(kPrefix) + " dev " +
                               bridge + "\nlink set " + bridge + " up\n";
  TRY_VOID(run_tool({"ip", "-batch", "-"}, commands));
  return {};
}

Result<> allow_forwarding() {
  TRY(auto file, open_file("/proc/sys/net/ipv4/ip_forward", O_WRONLY));
  return write_all(file.get(), "1", "net.ipv4.ip_forward");
}

std::string interface_of(const fs::path& owner) {
  return "hv" + Digest::of(owner.string()).hex().substr(0, 12);
}

std::string hook_script(const std::string& interface, const std::string& address, const std::string& gateway) {
  const std::string prefix = "/" + std::to_string(kPrefix);
  return "set -e\n"
         "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
         "pid=$(sed -n 's/.*\"pid\": *\\([0-9][0-9]*\\).*/\\1/p')\n"
         "ip -batch - <<END\n"
         "link add " +
         interface +
         " type veth peer name eth0 netns $pid\n"
         "link set " +
         interface + " master " + kBridge +
         " up\n"
         "link set " +
         interface +
         " type bridge_slave isolated on\n"
         "END\n"
         "nsenter -t \"$pid\" -n ip -batch - <<END\n"
         "address add " +
         address + prefix +
         " dev eth0\n"
         "link set lo up\n"
         "link set eth0 up\n"
         "route add default via " +
         gateway +
         "\n"
         "END\n";
}

}  // namespace

Result<> ensure_bridge() {
  TRY(const auto lock, lock_machine());
  TRY(const auto address, bridge_address());
  uint32_t network = 0;
  if (address) {
    network = range_of(*address, kPrefix).first;
  } else {
    TRY(network, free_network());
    TRY_VOID(make_bridge(network));
  }
  TRY_VOID(allow_forwarding());
  return make_rules(network);
}

Result<NetworkLease> lease_network(const fs::path& owner) {
  TRY(const auto lock, lock_machine());
  TRY(const auto gateway, bridge_address());
  if (!gateway) return fail(ErrorCode::unavailable, "the bridge hearth0 has gone; try again");
  const uint32_t network = range_of(*gateway, kPrefix).first;
  for (uint32_t host = 2; host <= kHosts; ++host) {
    const std::string address = to_text(network + host);
    const fs::path file = fs::path(kDirectory) / address;
    if (const auto holder = read_file(file)) {
      if (*holder != owner.string() && fs::exists(*holder)) continue;
    }
    TRY_VOID(write_file_atomic(file, owner.string(), 0600));
    return NetworkLease{.address = address,
                        .hook_script = hook_script(interface_of(owner), address, to_text(*gateway))};
  }
  return fail(ErrorCode::exhausted, "all addresses for jails with network are in use");
}

Result<> release_network(const fs::path& owner) {
  if (!fs::exists(kDirectory)) return {};
  TRY(const auto lock, lock_machine());
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kDirectory, error)) {
    if (entry.path().filename() == ".lock") continue;
    if (read_file(entry.path()).value_or("") == owner.string()) ::unlink(entry.path().c_str());
  }
  // The pair goes with the namespace, in the kernel's own time; it stays if a start failed before it was handed over.
  const std::string interface = interface_of(owner);
  if (!fs::exists("/sys/class/net/" + interface)) return {};
  if (auto deleted = run_tool({"ip", "link", "delete", interface}); !deleted) {
    if (fs::exists("/sys/class/net/" + interface)) return Unexpected(std::move(deleted).error());
  }
  return {};
}

Result<std::string> jail_resolv_conf(const fs::path& etc, const fs::path& resolved) {
  for (const fs::path& file : {etc / "resolv.conf", resolved}) {
    const auto text = read_file(file);
    if (!text) continue;
    std::string kept;
    size_t servers = 0;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      if (line.starts_with("nameserver")) {
        const auto at = line.find_first_not_of(" \t", 10);
        const auto server = at == std::string_view::npos ? std::string_view{} : line.substr(at);
        if (server.empty() || server.starts_with("127.") || server.contains(':')) continue;  // jails speak IPv4
        ++servers;
      } else if (!line.starts_with("search") && !line.starts_with("domain") && !line.starts_with("options")) {
        continue;
      }
      kept += std::string(line) + "\n";
    }
    if (servers > 0) return kept;
  }
  return fail(
      ErrorCode::unavailable,
      "the host resolves names only through its own loopback, which a jail cannot reach: put an IPv4 nameserver "
      "that other machines can use into /etc/resolv.conf");
}

}  // namespace hearth::container
