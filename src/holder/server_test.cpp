#include "holder/server.hpp"

#include "base/process.hpp"
#include "holder/children.hpp"
#include "holder/client.hpp"
#include "holder/message.hpp"
#include "holder/oom_protection.hpp"
#include "holder/testing/holder_process.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

namespace hearth::holder {
namespace {

class Holder : public HolderProcess {
 protected:
  UniqueFd file_with(std::string_view text) {
    const auto name = path(random_id(8));
    EXPECT_TRUE(write_file_atomic(name, text));
    return open_file(name, O_RDONLY).value();
  }
  /// Waits until the file is there and complete (a line).
  std::string line_in(const std::filesystem::path& file) {
    for (;;) {
      const auto text = read_file(file);
      if (text && text->ends_with('\n')) return text->substr(0, text->size() - 1);
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
};

SpawnRequest shell(const std::string& script) {
  return {
      .args = {"sh", "-c", script}, .environment = {"PATH=/usr/bin:/bin"}, .directory = "", .output = "", .fds = {}};
}

std::string content_of(const UniqueFd& fd) {
  char buffer[64];
  const ssize_t got = ::pread(fd.get(), buffer, sizeof buffer, 0);
  return {buffer, static_cast<size_t>(std::max<ssize_t>(got, 0))};
}

TEST_F(Holder, KeepsADescriptorUnderItsNameUntilDropped) {
  Client client(socket());
  ASSERT_TRUE(client.put("mount/a", file_with("one").get()));
  EXPECT_EQ(content_of(client.get("mount/a").value()), "one");
  EXPECT_EQ(content_of(client.get("mount/a").value()), "one") << "getting does not take it away";
  ASSERT_TRUE(client.drop("mount/a"));
  EXPECT_EQ(client.get("mount/a").error().code, ErrorCode::not_found);
  EXPECT_TRUE(client.drop("mount/a"));
}

TEST_F(Holder, ANameHoldsTheLastDescriptorPut) {
  Client client(socket());
  ASSERT_TRUE(client.put("a", file_with("old").get()));
  ASSERT_TRUE(client.put("a", file_with("new").get()));
  EXPECT_EQ(content_of(client.get("a").value()), "new");
}

TEST_F(Holder, ListsNamesByPrefixHoweverMany) {
  Client client(socket());
  const UniqueFd fd = file_with("x");
  const std::string padding(240, 'n');
  for (int i = 0; i < 600; ++i) {  // more than one message holds
    ASSERT_TRUE(client.put("many/" + padding + std::to_string(1000 + i), fd.get()));
  }
  ASSERT_TRUE(client.put("other", fd.get()));
  const auto names = client.list("many/").value();
  ASSERT_EQ(names.size(), 600u);
  EXPECT_TRUE(std::ranges::is_sorted(names));
  EXPECT_EQ(client.list("o").value(), std::vector<std::string>{"other"});
  EXPECT_TRUE(client.list("nothing").value().empty());
}

TEST_F(Holder, WrongRequestsAreRefusedAndChangeNothing) {
  Client client(socket());
  const UniqueFd fd = file_with("x");
  EXPECT_EQ(client.put("", fd.get()).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(client.put(std::string(256, 'a'), fd.get()).error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(client.put(std::string(255, 'a'), fd.get()));
  EXPECT_EQ(client.spawn({}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(client.spawn({.args = {"/no/such/program"}}).error().code, ErrorCode::not_found);
  EXPECT_EQ(client.spawn({.args = {"true"}, .directory = "/no/such/folder"}).error().code, ErrorCode::not_found);
  EXPECT_EQ(client.spawn({.args = {"true"}, .fds = {{fd.get(), 5}, {fd.get(), 5}}}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(client.list("").value().size(), 1u);
}

std::string oom_score_of(const std::string& process) {
  return read_file("/proc/" + process + "/oom_score_adj").value();
}

TEST_F(Holder, IsNeverChosenByTheOomKillerAndItsChildrenAreJudgedAsWithoutIt) {
  const pid_t tries = in_child([] { return protect_from_oom_killer().empty() ? 1 : 0; });
  if (exit_status(tries) != 0) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
  EXPECT_EQ(oom_score_of(std::to_string(pid_)), "-1000\n");
  SpawnRequest child = shell("cat /proc/self/oom_score_adj");
  child.output = path("score").string();
  ASSERT_TRUE(Client(socket()).spawn(child));
  EXPECT_EQ(line_in(path("score")) + "\n", oom_score_of("self"));
}

/// A score can be raised without any privilege.
TEST_F(Holder, TheOomScoreOfAChildIsSetWithoutTouchingItsParents) {
  const auto before = oom_score_of("self");
  const Spawn spawn{.args = {"/bin/cat", "/proc/self/oom_score_adj"}, .output = path("score").string()};
  const auto child = start_child(spawn, {}, "321\n");
  ASSERT_TRUE(child);
  EXPECT_EQ(line_in(path("score")), "321");
  EXPECT_EQ(exit_status(child->pid), 0);
  EXPECT_EQ(oom_score_of("self"), before);
}

TEST_F(Holder, KeepsServingAfterMalformedMessages) {
  auto raw = SeqpacketSocket::connect(socket()).value();
  for (const std::string& bytes :
       {std::string("x"), std::string("\x01\xff\0\0\0\0\0\0", 8), std::string(1000, '\x01')}) {
    ASSERT_TRUE(raw.send(bytes));
    const auto reply = decode_reply(raw.receive(soon()).value().bytes).value();
    EXPECT_TRUE(std::holds_alternative<Error>(reply.body));
  }
  ASSERT_TRUE(raw.send(std::string("\x02\x02\0\0\x07\0\0\0\0\0\0\0", 12)));
  const auto reply = decode_reply(raw.receive(soon()).value().bytes).value();
  EXPECT_EQ(reply.id, 7u);
  EXPECT_NE(std::get<Error>(reply.body).message.find("version 2"), std::string::npos);
  EXPECT_TRUE(Client(socket()).list(""));
}

TEST_F(Holder, RefusesOtherUsers) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(socket().c_str(), 0666), 0);  // the file would let them in, the credentials do not
  const auto as_nobody = [this] {
    if (::setuid(65534) != 0) return 9;
    const auto listed = Client(socket()).list("");
    return !listed && listed.error().code == ErrorCode::denied ? 0 : 1;
  };
  EXPECT_EQ(exit_status(in_child(as_nobody)), 0);
}

TEST_F(Holder, SpawnsWithArgumentsEnvironmentDirectoryAndOutput) {
  Client client(socket());
  auto request = shell("echo $0 $WORD $(pwd); echo err >&2");
  request.args.emplace_back("zero");
  request.environment.emplace_back("WORD=hi");
  request.directory = "/usr";
  request.output = path("out");
  EXPECT_EQ(client.run(request, soon()).value().code, 0);
  EXPECT_EQ(read_file(path("out")).value(), "zero hi /usr\nerr\n");
  EXPECT_EQ(client.run(request, soon()).value().code, 0);
  EXPECT_EQ(read_file(path("out")).value().size(), 2 * std::string("zero hi /usr\nerr\n").size()) << "appended";
}

TEST_F(Holder, GivesAChildExactlyItsDescriptors) {
  Client client(socket());
  ASSERT_TRUE(client.put("kept", file_with("secret").get()));
  const UniqueFd first = file_with("first");
  const UniqueFd second = file_with("second");
  // Numbers crossed on purpose: each source's number is the other's target.
  auto request = shell("cat <&" + std::to_string(second.get()) + "; cat <&" + std::to_string(first.get()) +
                       "; ls /proc/self/fd | wc -l; ulimit -Sn");
  request.fds = {{first.get(), second.get()}, {second.get(), first.get()}};
  request.output = path("out");
  ASSERT_EQ(client.run(request, soon()).value().code, 0);
  // 0, 1, 2, the two, and the one with which ls reads the folder.
  EXPECT_EQ(read_file(path("out")).value(), "firstsecond6\n1024\n");
}

TEST_F(Holder, StartingChildrenLeavesWhatIsKeptAlone) {
  Client client(socket());
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(client.put(std::to_string(i), file_with(std::to_string(i)).get()));
  auto request = shell("ls /proc/self/fd | wc -l");
  request.output = path("out");
  ASSERT_EQ(client.run(request, soon()).value().code, 0);
  EXPECT_EQ(read_file(path("out")).value(), "4\n") << "0, 1, 2, and the one with which ls reads the folder";
  EXPECT_EQ(client.spawn({.args = {"/no/such/program"}}).error().code, ErrorCode::not_found);
  EXPECT_EQ(client.spawn({.args = {"no-such-program"}}).error().code, ErrorCode::not_found);
  EXPECT_EQ(client.spawn({.args = {path("out")}}).error().code, ErrorCode::denied) << "not executable";
  for (int i = 0; i < 200; ++i) EXPECT_EQ(content_of(client.get(std::to_string(i)).value()), std::to_string(i));
  EXPECT_EQ(client.exits().value().size(), 1u) << "what could not be started is no child";
}

TEST_F(Holder, AChildLeadsItsOwnSessionWithDefaultSignals) {
  Client client(socket());
  auto request = shell("cut -d' ' -f6 /proc/$$/stat; echo $$; awk '/Sig(Blk|Ign)/ {print $2}' /proc/self/status");
  request.output = path("out");
  ASSERT_TRUE(client.run(request, soon()));
  const std::string out = read_file(path("out")).value();
  const size_t line = out.find('\n');
  EXPECT_EQ(out.substr(0, line), out.substr(line + 1, line)) << "session id is the pid";
  // Two lines of 16 hex digits; signals 32 and 33 are the C library's own.
  constexpr uint64_t kOurs = (uint64_t{1} << 31) - 1;
  EXPECT_EQ(std::stoull(out.substr(out.size() - 34, 16), nullptr, 16) & kOurs, 0u) << out;
  EXPECT_EQ(std::stoull(out.substr(out.size() - 17, 16), nullptr, 16) & kOurs, 0u) << out;
}

TEST_F(Holder, TellsHowAChildEnded) {
  Client client(socket());
  const Exit exit = client.run(shell("exit 7"), soon()).value();
  EXPECT_EQ(exit.code, 7);
  EXPECT_EQ(exit.signal, 0);
  const Exit killed = client.run(shell("kill -KILL $$"), soon()).value();
  EXPECT_EQ(killed.signal, SIGKILL);
  const auto exits = client.exits().value();
  ASSERT_EQ(exits.size(), 2u);
  EXPECT_EQ(exits[0].child, exit.child);
  EXPECT_NE(exits[0].child.start_time, 0u);
  EXPECT_EQ(client.exits(exits[0].sequence).value().size(), 1u) << "only later ones";
}

TEST_F(Holder, RunKillsTheWholeGroupAtItsDeadline) {
  Client client(socket());
  auto request = shell("sleep 600 & echo $! > " + path("pid").string() + "; wait");
  const auto result = client.run(request, Deadline::after(mono_now(), milliseconds(300)));
  EXPECT_EQ(result.error().code, ErrorCode::deadline_exceeded);
  const pid_t sleeper = std::stoi(line_in(path("pid")));
  while (process_start_time(sleeper)) std::this_thread::sleep_for(milliseconds(1));
}

TEST_F(Holder, PushesEndsIncludingThoseOfOrphans) {
  auto stream = ExitStream::open(socket()).value();
  Client client(socket());
  ASSERT_EQ(::mkfifo(path("go").c_str(), 0600), 0);
  // As runc does: the child forks, says whom it forked, and leaves.
  const std::string orphan_script = "read x < " + path("go").string() + "; exit 5";
  const auto starter = client.spawn(shell("sh -c '" + orphan_script + "' & echo $! > " + path("pid").string())).value();
  EXPECT_EQ(stream.next(soon()).value().child, starter);
  const pid_t orphan = std::stoi(line_in(path("pid")));
  ASSERT_TRUE(write_all(open_file(path("go"), O_WRONLY).value().get(), "x\n", "go"));
  const Exit end = stream.next(soon()).value();
  EXPECT_EQ(end.child.pid, orphan);
  EXPECT_EQ(end.code, 5);
  EXPECT_FALSE(process_start_time(orphan)) << "reaped, no zombie";
}

TEST_F(Holder, AStreamBeginsWhereAsked) {
  Client client(socket());
  for (int code = 1; code <= 3; ++code) ASSERT_TRUE(client.run(shell("exit " + std::to_string(code)), soon()));
  auto stream = ExitStream::open(socket(), 1).value();
  EXPECT_EQ(stream.next(soon()).value().code, 2);
  EXPECT_EQ(stream.next(soon()).value().code, 3);
  EXPECT_EQ(stream.next(Deadline::after(mono_now(), milliseconds(1))).error().code, ErrorCode::deadline_exceeded);
}

TEST_F(Holder, AFollowerThatNeverReadsBlocksNobodyAndLosesNothing) {
  auto lazy = ExitStream::open(socket()).value();
  Client client(socket());
  constexpr int kChildren = 1500;  // more pushes than its socket buffers
  for (int i = 0; i < kChildren; ++i)
    ASSERT_TRUE(client.spawn({.args = {"true"}, .environment = {"PATH=/bin:/usr/bin"}}));
  while (client.exits().value().size() < kChildren) std::this_thread::sleep_for(milliseconds(5));
  for (uint64_t sequence = 1; sequence <= kChildren; ++sequence) {
    ASSERT_EQ(lazy.next(soon()).value().sequence, sequence);
  }
}

TEST_F(Holder, AKilledClientCostsNothing) {
  const auto client_that_dies = [this] {
    Client client(socket());
    if (!client.put("mine", STDIN_FILENO)) return 1;
    auto request = shell("echo $$ > " + path("pid").string() + "; exec sleep 600");
    if (!client.spawn(request)) return 1;
    ::raise(SIGKILL);
    return 2;
  };
  EXPECT_EQ(exit_status(in_child(client_that_dies)), 128 + SIGKILL);
  const pid_t sleeper = std::stoi(line_in(path("pid")));
  EXPECT_TRUE(process_start_time(sleeper)) << "its child lives on";
  Client client(socket());
  EXPECT_TRUE(client.get("mine")) << "what it put is still there";
  ::kill(sleeper, SIGKILL);
}

TEST_F(Holder, ItsOwnDeathKillsNoChildAndClientsFindTheNext) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  Client client(socket());
  ASSERT_TRUE(client.put("a", STDIN_FILENO));
  const Child child = client.spawn({.args = {"sleep", "600"}, .environment = {"PATH=/bin:/usr/bin"}}).value();
  auto stream = ExitStream::open(socket()).value();
  kill_holder(SIGKILL);
  EXPECT_EQ(stream.next(soon()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(process_start_time(child.pid), child.start_time);
  EXPECT_EQ(client.list("").error().code, ErrorCode::unavailable);
  start();
  EXPECT_TRUE(client.list("").value().empty()) << "a new holder holds nothing";
  EXPECT_TRUE(client.put("a", STDIN_FILENO));
  ::kill(child.pid, SIGKILL);
  exit_status(child.pid);  // ours now: a subreaper further up inherits it
}

TEST_F(Holder, AClientThatWasConnectedBeforeARestartNoticesNothing) {
  Client client(socket());
  ASSERT_TRUE(client.list(""));
  kill_holder(SIGKILL);
  start();
  EXPECT_TRUE(client.put("a", STDIN_FILENO));
  kill_holder(SIGKILL);
  start();
  EXPECT_TRUE(client.spawn({.args = {"true"}, .environment = {"PATH=/bin:/usr/bin"}})) << "it had not been sent";
}

TEST_F(Holder, StopsOnSigtermAndTakesItsSocketAway) {
  EXPECT_EQ(kill_holder(SIGTERM), 0);
  EXPECT_FALSE(std::filesystem::exists(socket()));
}

TEST_F(Holder, ASecondOneOnTheSameSocketIsRefused) {
  const Config config{.socket = socket()};
  const auto second = [&config] {
    const auto served = serve(config);
    return !served && served.error().code == ErrorCode::already_exists ? 0 : 1;
  };
  EXPECT_EQ(exit_status(in_child(second)), 0);
  EXPECT_TRUE(Client(socket()).list(""));
}

TEST_F(Holder, ManyThreadsShareOneClient) {
  Client client(socket());
  std::vector<std::jthread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&client, &right, i, this] {
      for (int round = 0; round < 50; ++round) {
        const std::string name = std::to_string(i);
        const UniqueFd fd = file_with(name);
        if (client.put(name, fd.get()) && content_of(client.get(name).value()) == name) ++right;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 200);
}

}  // namespace
}  // namespace hearth::holder
