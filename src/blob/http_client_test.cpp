#include "blob/http_client.hpp"

#include "base/file.hpp"
#include "blob/testing/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <atomic>
#include <thread>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;

TEST(HttpClient, SendsAndReceives) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    return http_answer(201, request.method + " " + request.path + " " + request.body, "X-One:  two \r\n");
  });
  HttpClient client;
  const auto reply =
      client.exchange({.method = "PUT", .url = server.url() + "/a%2Fb?c=d", .body = HttpBody{.bytes = "hello"}});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 201);
  EXPECT_EQ(reply->header("x-one"), "two");
  EXPECT_EQ(reply->body, "PUT /a%2Fb?c=d hello");
}

TEST(HttpClient, SendsAPartOfAFileWithinAFrame) {
  ScriptedServer server([](const ScriptedServer::Request& request) { return http_answer(200, request.body); });
  const std::string content(1'000'000, 'x');
  const UniqueFd file(::memfd_create("http-client-test", MFD_CLOEXEC));
  ASSERT_TRUE(write_all(file.get(), "ab" + content + "cd", "file"));
  HttpClient client;
  const HttpBody body{.fd = file.get(), .offset = 1, .length = content.size() + 2, .before = "<<", .after = ">>"};
  const auto reply = client.exchange({.method = "POST", .url = server.url(), .body = body});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_TRUE(reply->body == "<<b" + content + "c>>");
  const HttpBody too_long{.fd = file.get(), .offset = 0, .length = content.size() + 5, .after = ">>"};
  EXPECT_EQ(client.exchange({.method = "POST", .url = server.url(), .body = too_long}).error().code,
            ErrorCode::corrupt);
}

TEST(HttpClient, ReusesAConnectionAndSurvivesItsEnd) {
  std::atomic<int> answered{0};
  ScriptedServer server([&answered](const ScriptedServer::Request&) {
    return http_answer(200, "x", ++answered == 3 ? "Connection: close\r\n" : "");
  });
  HttpClient client;
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(client.exchange({.url = server.url()}));
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClient, AnAnswerOverItsLimitIsRefused) {
  ScriptedServer server([](const ScriptedServer::Request&) { return http_answer(200, std::string(100'000, 'x')); });
  HttpClient client;
  EXPECT_EQ(client.exchange({.url = server.url(), .reply_max_bytes = 99'999}).error().code, ErrorCode::exhausted);
  EXPECT_EQ(client.exchange({.url = server.url(), .reply_max_bytes = 100'000}).value().body.size(), 100'000u);
}

TEST(HttpClient, TheBodyOfAnErrorIsNotGivenToTheSink) {
  ScriptedServer server([](const ScriptedServer::Request&) { return http_answer(404, "no such thing"); });
  HttpClient client;
  const auto reply = client.exchange({.url = server.url(), .sink = [](std::string_view) -> Result<> {
                                        ADD_FAILURE();
                                        return {};
                                      }});
  EXPECT_EQ(reply.value().body, "no such thing");
}

TEST(HttpClient, ACutAnswerIsUnavailable) {
  ScriptedServer server([](const ScriptedServer::Request&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf");
  });
  HttpClient client;
  EXPECT_EQ(client.exchange({.url = server.url()}).error().code, ErrorCode::unavailable);
}

TEST(HttpClient, AServerThatIsSilentIsUnavailable) {
  std::atomic<bool> over{false};
  ScriptedServer server([&over](const ScriptedServer::Request&) {
    while (!over) std::this_thread::sleep_for(milliseconds(1));
    return std::string();
  });
  HttpClient client({.stall_timeout = milliseconds(50)});
  const auto reply = client.exchange({.url = server.url()});
  over = true;
  EXPECT_EQ(reply.error().code, ErrorCode::unavailable);
  EXPECT_THAT(reply.error().message, HasSubstr("sends nothing"));
}

TEST(HttpClient, ACallersDeadlineAndStopEndTheWait) {
  std::atomic<bool> over{false};
  ScriptedServer server([&over](const ScriptedServer::Request&) {
    while (!over) std::this_thread::sleep_for(milliseconds(1));
    return std::string();
  });
  HttpClient client;
  EXPECT_EQ(
      client.exchange({.url = server.url(), .patience = {.deadline = Deadline::after(mono_now(), milliseconds(20))}})
          .error()
          .code,
      ErrorCode::deadline_exceeded);
  std::stop_source stop;
  const std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(20));
    stop.request_stop();
  });
  EXPECT_EQ(client.exchange({.url = server.url(), .patience = {.stop = stop.get_token()}}).error().code,
            ErrorCode::cancelled);
  over = true;
}

TEST(HttpClient, FollowsNoRedirect) {
  ScriptedServer server([](const ScriptedServer::Request&) {
    return http_answer(302, "", "Location: http://127.0.0.1:1/elsewhere\r\n");
  });
  HttpClient client;
  EXPECT_EQ(client.exchange({.url = server.url()}).value().status, 302);
  EXPECT_FALSE(client.exchange({.url = "file:///etc/passwd"}));
}

TEST(HttpClient, NamesAServerThatIsNotThere) {
  HttpClient client;
  const auto reply = client.exchange({.url = "http://127.0.0.1:1/secret?token=x"});
  EXPECT_EQ(reply.error().code, ErrorCode::unavailable);
  EXPECT_THAT(reply.error().message, HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(reply.error().message, ::testing::Not(HasSubstr("token")));
}

TEST(HttpClient, ServesManyThreads) {
  ScriptedServer server([](const ScriptedServer::Request& request) { return http_answer(200, request.path); });
  HttpClient client;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&client, &server, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string path = "/" + std::to_string(t) + "/" + std::to_string(i);
        EXPECT_EQ(client.exchange({.url = server.url() + path}).value().body, path);
      }
    });
  }
}

}  // namespace
}  // namespace hearth::blob
