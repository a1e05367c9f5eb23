#include "supervisor/role_environment.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace hearth::supervisor {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class RoleEnvironmentTest : public ::testing::Test {
 protected:
  RoleEnvironmentTest() {
    std::filesystem::create_directory(folder_);
    ::setenv("AWS_SHARED_CREDENTIALS_FILE", path().c_str(), 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "the-secret", 1);
    EXPECT_TRUE(write_file_atomic(path(), "[default]\naws_access_key_id = x\n", 0600));
  }
  ~RoleEnvironmentTest() override {
    ::unsetenv("AWS_SHARED_CREDENTIALS_FILE");
    ::unsetenv("AWS_SECRET_ACCESS_KEY");
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ / "credentials"; }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("role-environment-test-" + random_id(8));
};

TEST_F(RoleEnvironmentTest, WhoDoesNotUseTheStoreHasNoneOfItsVariables) {
  EXPECT_THAT(own_environment(), Contains("AWS_SECRET_ACCESS_KEY=the-secret"));
  EXPECT_THAT(environment_without_store(), Not(Contains(HasSubstr("AWS_"))));
  EXPECT_THAT(environment_without_store(), Contains(HasSubstr("PATH=")));
}

TEST_F(RoleEnvironmentTest, AFileThatTheRoleCannotReadIsGivenAsADescriptorThatItCan) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Unprivileged user{61700, 61700};
  auto environment = environment_for(user, 60).value();
  ASSERT_EQ(environment.fds.size(), 1u);
  EXPECT_EQ(environment.fds[0].second, 60);
  EXPECT_THAT(environment.variables, Contains("AWS_SHARED_CREDENTIALS_FILE=/proc/self/fd/60"));
  EXPECT_THAT(environment.variables, Not(Contains(HasSubstr(path()))));
  const std::string log = folder_ / "log";
  LaunchOptions options{.program = "/bin/sh",
                        .args = {"sh", "-c", "cat $AWS_SHARED_CREDENTIALS_FILE; cat " + path()},
                        .log = log,
                        .user = user,
                        .fds = {{environment.fds[0].first.get(), 60}}};
  options.environment = environment.variables;
  const auto process = launch(options).value();
  ::waitpid(process.pid(), nullptr, 0);
  const std::string printed = read_file(log).value();
  EXPECT_THAT(printed, HasSubstr("aws_access_key_id = x"));
  EXPECT_THAT(printed, HasSubstr("Permission denied"));
}

TEST_F(RoleEnvironmentTest, AFileThatTheRoleCanReadIsLeftWhereItIs) {
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  const auto environment = environment_for({61700, 61700}, 60).value();
  EXPECT_TRUE(environment.fds.empty());
  EXPECT_THAT(environment.variables, Contains("AWS_SHARED_CREDENTIALS_FILE=" + path()));
}

}  // namespace
}  // namespace hearth::supervisor
