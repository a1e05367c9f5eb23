#include "supervisor/launch.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hearth::supervisor {
namespace {

/// What a shell script prints when launched with these options.
std::string printed_by(LaunchOptions options, const std::string& script) {
  const auto log = std::filesystem::temp_directory_path() / ("launch-test-" + random_id(8));
  options.program = "/bin/sh";
  options.args = {"sh", "-c", "sleep 0.05; " + script};
  options.log = log;
  const auto process = launch(options);
  if (!process) return process.error().message;
  ::waitpid(process->pid(), nullptr, 0);
  std::string text = read_file(log).value_or("");
  std::filesystem::remove(log);
  return text;
}

TEST(Launch, AnUnprivilegedProcessHasNoRightsLeft) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string status =
      printed_by({.user = Unprivileged{61700, 61701}}, "grep -E 'Uid|Gid|Groups|Cap|NoNew' /proc/self/status");
  EXPECT_NE(status.find("Uid:\t61700\t61700\t61700\t61700"), std::string::npos) << status;
  EXPECT_NE(status.find("Gid:\t61701\t61701\t61701\t61701"), std::string::npos) << status;
  EXPECT_NE(status.find("Groups:\t \n"), std::string::npos) << status;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_NE(status.find(std::string(set) + ":\t0000000000000000"), std::string::npos) << status;
  }
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos) << status;
}

TEST(Launch, DescriptorsComeUnderTheirNumbersEvenWhenTheyCross) {
  const auto file_with = [](std::string_view text) {
    char name[] = "/tmp/launch-test-XXXXXX";
    UniqueFd fd(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    (void)write_all(fd.get(), text, name);
    ::lseek(fd.get(), 0, SEEK_SET);
    return fd;
  };
  const UniqueFd one = file_with("one");
  const UniqueFd two = file_with("two");
  LaunchOptions options;
  options.fds = {{one.get(), two.get()}, {two.get(), one.get()}};
  EXPECT_EQ(printed_by(options, "cat <&" + std::to_string(two.get()) + "; cat <&" + std::to_string(one.get())),
            "onetwo");
}

TEST(Launch, AProcessHasTheEnvironmentItIsGivenAndNoOther) {
  ::setenv("LAUNCH_TEST_SECRET", "the-secret", 1);
  LaunchOptions options;
  options.environment = {{"PATH=/usr/bin:/bin", "LAUNCH_TEST_OTHER=seen"}};
  const std::string shown = printed_by(options, "env");
  ::unsetenv("LAUNCH_TEST_SECRET");
  EXPECT_NE(shown.find("LAUNCH_TEST_OTHER=seen"), std::string::npos) << shown;
  EXPECT_EQ(shown.find("the-secret"), std::string::npos) << shown;
}

TEST(Launch, AMissingProgramIsAnErrorThatNamesIt) {
  const auto missing =
      launch({.program = "/no/such/program", .args = {"x"}, .log = "/dev/null", .user = {}, .fds = {}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_NE(missing.error().message.find("/no/such/program"), std::string::npos);
}

}  // namespace
}  // namespace hearth::supervisor
