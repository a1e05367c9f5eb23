#include "base/process.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(RunProcess, CollectsOutputAndExitStatus) {
  auto exit = run_process({.args = {"sh", "-c", "cat; echo err >&2; exit 3"}, .input = "in\n"}).value();
  EXPECT_EQ(exit.code, 3);
  EXPECT_EQ(exit.output, "in\nerr\n");
}

TEST(RunProcess, AMissingProgramIsAnErrorThatNamesIt) {
  const auto result = run_process({.args = {"no-such-program-here"}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_NE(result.error().message.find("no-such-program-here"), std::string::npos);
}

TEST(RunProcess, ADeadlineKillsTheWholeGroup) {
  const auto result = run_process(
      {.args = {"sh", "-c", "sleep 60 & sleep 60"}, .deadline = Deadline::after(mono_now(), milliseconds(50))});
  EXPECT_EQ(result.error().code, ErrorCode::deadline_exceeded);
}

TEST(FindProgram, KnowsWhatIsThereAndWhatIsNot) {
  EXPECT_TRUE(find_program("sh"));
  EXPECT_FALSE(find_program("no-such-program-here"));
}

}  // namespace
}  // namespace hearth
