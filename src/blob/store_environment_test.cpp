#include "blob/store_environment.hpp"

#include "base/process.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace hearth::blob {
namespace {

TEST(StoreEnvironment, KnowsWhichVariablesAreTheStores) {
  for (const char* name :
       {"AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"}) {
    EXPECT_TRUE(is_store_variable(name)) << name;
  }
  for (const char* name : {"HOME", "PATH", "HEARTH_UP_STORE", "LAWS_X"}) EXPECT_FALSE(is_store_variable(name)) << name;
}

TEST(StoreEnvironment, AnEmptyVariableIsNone) {
  const StoreEnvironment environment({{"AWS_REGION", ""}, {"AWS_PROFILE", "p"}});
  EXPECT_EQ(environment.get("AWS_REGION"), std::nullopt);
  EXPECT_EQ(environment.get_or("AWS_REGION", "r"), "r");
  EXPECT_EQ(environment.get("AWS_PROFILE"), "p");
}

/// In a child, because it changes the process for good.
TEST(StoreEnvironment, KeptSecretsAreKnownToUsButNotToProgramsWeStart) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("AWS_SECRET_ACCESS_KEY", "the-secret", 1);
    ::setenv("AWS_REGION", "eu-west-1", 1);
    keep_store_secrets();
    const StoreEnvironment ours = StoreEnvironment::of_process();
    const bool known = ours.get("AWS_SECRET_ACCESS_KEY") == "the-secret" && ours.get("AWS_REGION") == "eu-west-1";
    const auto shown = run_process({.args = {"env"}});
    const bool hidden = shown && shown->output.contains("PATH=") && !shown->output.contains("the-secret");
    ::_exit(known && hidden ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hearth::blob
