// What a remote store promises when the network, the server or the credentials fail. The faults are in the keys' names:
// tests/fakes/fault_proxy.py, which stands before the store, makes them.
#include "base/digest.hpp"
#include "blob/gcs_store.hpp"
#include "blob/range_reader.hpp"
#include "blob/s3_store.hpp"
#include "blob/store_environment.hpp"
#include "blob/testing/store_under_test.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class StoreFaults : public StoreUnderTest {
 protected:
  void SetUp() override {
    if (faulty_url().empty()) GTEST_SKIP() << "no HEARTH_CONFORMANCE_FAULTY_STORE: a directory has no network";
    // The same place as store_, so that what is made there is read through the proxy.
    const std::string place = url_.substr(url_.find("/t-") + 1, url_.find('?') - url_.find("/t-") - 1);
    faulty_ = open_store(with_prefix(faulty_url(), place)).value();
  }
  bool is_s3() const { return url_.starts_with("s3://"); }

  std::shared_ptr<ObjectStore> faulty_;
};

TEST_F(StoreFaults, ABusyServerIsAskedAgain) {
  EXPECT_EQ(faulty_->create("fault-503-2/k", "bytes").value(), Created::yes);
  EXPECT_EQ(faulty_->get("fault-503-2/k").value(), "bytes");
  EXPECT_EQ(faulty_->size("fault-503-2/k").value(), 5u);
  EXPECT_TRUE(faulty_->remove("fault-503-2/k"));
}

TEST_F(StoreFaults, AServerThatStaysBusyIsUnavailable) {
  const auto failed = streamed(*faulty_, "fault-503-1000/k", {}, {.deadline = Deadline::after(mono_now(), seconds(1))});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable) << failed.error().message;
}

TEST_F(StoreFaults, ACutReadGoesOnWhereItStopped) {
  const std::string content = pattern(1'000'000);
  ASSERT_TRUE(store_->create("fault-cut-300000/k", content));
  EXPECT_TRUE(faulty_->get("fault-cut-300000/k").value() == content);
  EXPECT_TRUE(faulty_->get_range("fault-cut-300000/k", 10'000, 900'000).value() == content.substr(10'000, 900'000));
  EXPECT_TRUE(RangeReader(faulty_).read("fault-cut-300000/k", 1, 500'000, {}).value() == content.substr(1, 500'000));
}

TEST_F(StoreFaults, AStalledServerIsLeftAndAskedAgain) {
  const std::string content = pattern(500'000);
  ASSERT_TRUE(store_->create("fault-stall-1/k", content));
  EXPECT_TRUE(faulty_->get("fault-stall-1/k").value() == content);
}

TEST_F(StoreFaults, ASlowServerIsWaitedForWhileBytesCome) {
  const std::string content = pattern(300'000);
  ASSERT_TRUE(store_->create("fault-slow-100000/k", content));
  EXPECT_TRUE(faulty_->get("fault-slow-100000/k").value() == content);
}

TEST_F(StoreFaults, ADeadlineEndsAReadOfASlowServer) {
  ASSERT_TRUE(store_->create("fault-slow-10000/k", pattern(300'000)));
  const auto late =
      streamed(*faulty_, "fault-slow-10000/k", {}, {.deadline = Deadline::after(mono_now(), milliseconds(300))});
  EXPECT_EQ(late.error().code, ErrorCode::deadline_exceeded);
}

TEST_F(StoreFaults, ACancelledReadEndsAtOnceAlthoughTheServerIsSilent) {
  ASSERT_TRUE(store_->create("fault-stall-1000/k", pattern(300'000)));
  std::stop_source stop;
  const std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(200));
    stop.request_stop();
  });
  EXPECT_EQ(streamed(*faulty_, "fault-stall-1000/k", {}, {.stop = stop.get_token()}).error().code,
            ErrorCode::cancelled);
}

TEST_F(StoreFaults, ACreatorWhoseAnswerWasLostIsToldThatItCreated) {
  EXPECT_EQ(faulty_->create("fault-lost-1/k", "mine").value(), Created::yes);
  EXPECT_EQ(store_->get("fault-lost-1/k").value(), "mine");
}

TEST_F(StoreFaults, ACreatorWhoseAnswerWasLostIsToldThatAnotherCreated) {
  ASSERT_EQ(store_->create("fault-lost-1/taken", "theirs").value(), Created::yes);
  EXPECT_EQ(faulty_->create("fault-lost-1/taken", "mine").value(), Created::no);
  EXPECT_EQ(store_->get("fault-lost-1/taken").value(), "theirs");
}

TEST_F(StoreFaults, ALargeUploadSurvivesLostAnswers) {
  const std::string content = pattern(size_t{35} << 20);
  const auto source = scratch_ / "source";
  std::ofstream(source, std::ios::binary) << content;
  const auto created = faulty_->create_from_file("fault-lost-2/big", source);
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(*created, Created::yes);
  EXPECT_EQ(Digest::of(store_->get("fault-lost-2/big").value()), Digest::of(content));
}

TEST_F(StoreFaults, WhatIsNotAllowedIsDeniedAndSaysWhatIsNeeded) {
  const auto refused = faulty_->get("fault-403-1000/k");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr(is_s3() ? "s3:GetObject" : "storage.objectAdmin"));
}

TEST_F(StoreFaults, CredentialsThatExpiredAreFetchedAgain) {
  if (!is_s3()) GTEST_SKIP() << "the emulator takes no credentials";
  EXPECT_EQ(faulty_->create("fault-expired-1/k", "x").value(), Created::yes);
  const auto failed = faulty_->get("fault-expired-1000/k");
  ASSERT_FALSE(failed) << "once only";
  EXPECT_EQ(failed.error().code, ErrorCode::denied);
}

TEST_F(StoreFaults, ConcurrentWritesOfOneKeyAreTriedAgain) {
  if (!is_s3()) GTEST_SKIP() << "GCS answers otherwise";
  EXPECT_EQ(faulty_->create("fault-409-1/k", "x").value(), Created::yes);
}

TEST_F(StoreFaults, AWrongKeyIsDeniedAndSaysWhichVariable) {
  if (!is_s3()) GTEST_SKIP() << "the emulator takes no credentials";
  const auto with = [this](const char* id, const char* secret) {
    const StoreEnvironment environment({{"AWS_ACCESS_KEY_ID", id}, {"AWS_SECRET_ACCESS_KEY", secret}});
    return S3Store::open(url_, environment).value()->get("k").error();
  };
  const StoreEnvironment ours = StoreEnvironment::of_process();
  const Error secret = with(ours.get_or("AWS_ACCESS_KEY_ID", "").c_str(), "wrong-secret-words");
  EXPECT_EQ(secret.code, ErrorCode::denied);
  EXPECT_THAT(secret.message, HasSubstr("AWS_SECRET_ACCESS_KEY"));
  EXPECT_THAT(secret.message, Not(HasSubstr("wrong-secret-words")));
  const Error unknown = with("nobody", "wrong-secret-words");
  EXPECT_EQ(unknown.code, ErrorCode::denied);
  EXPECT_THAT(unknown.message, HasSubstr("AWS_ACCESS_KEY_ID"));
}

TEST_F(StoreFaults, AServerThatIsNotThereIsUnavailable) {
  std::string nowhere = url_;
  nowhere.replace(nowhere.find("127.0.0.1:"),
                  nowhere.find_first_of("&/", nowhere.find("127.0.0.1:")) - nowhere.find("127.0.0.1:"), "127.0.0.1:1");
  const auto failed =
      streamed(*open_store(nowhere).value(), "k", {}, {.deadline = Deadline::after(mono_now(), seconds(1))});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("127.0.0.1:1"));
}

}  // namespace
}  // namespace hearth::blob
