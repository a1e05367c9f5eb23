#include "blob/pack_mirror.hpp"

#include "base/random_id.hpp"
#include "blob/range_reader.hpp"
#include "blob/signed_url.hpp"
#include "blob/testing/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;

constexpr const char* kContent = "0123456789abcdefghijklmnopqrstuvwxyz";

class PackMirrorTest : public ::testing::Test {
 protected:
  PackMirrorTest() {
    std::filesystem::create_directory(folder_);
    auto store = open_store((folder_ / "store").string(), IfMissing::create).value();
    EXPECT_TRUE(store->create("packs/p", kContent));
    EXPECT_TRUE(store->create("packs/only here", "store"));
    store_ = std::make_shared<RangeReader>(std::move(store));
  }
  ~PackMirrorTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<PackMirror> mirror(const std::string& url, const std::filesystem::path& secret = {}) {
    return PackMirror::open({.url = url, .secret_file = secret, .stall_timeout = milliseconds(200)}, store_).value();
  }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("mirror-test-" + random_id(8));
  std::shared_ptr<RangeReader> store_;
};

TEST_F(PackMirrorTest, ReadsRangesThroughTheMirror) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    return request.path == "/cache/packs/p" ? range_answer(request, kContent) : http_answer(404, "");
  });
  const auto packs = mirror(server.url() + "/cache/");
  EXPECT_EQ(packs->read("packs/p", 10, 5, {}).value(), "abcde");
  EXPECT_EQ(packs->read("packs/p", 0, 36, {}).value(), kContent);
  EXPECT_EQ(packs->counts().mirror_reads, 2u);
  EXPECT_EQ(packs->counts().fallbacks, 0u);
}

TEST_F(PackMirrorTest, WhatTheMirrorLacksComesFromTheStore) {
  ScriptedServer server([](const ScriptedServer::Request&) { return http_answer(404, ""); });
  const auto packs = mirror(server.url());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(packs->read("packs/only here", 0, 5, {}).value(), "store");
  EXPECT_EQ(packs->counts().fallbacks, 10u) << "a mirror that only lacks an object is not given up";
  EXPECT_EQ(server.requests().front().path, "/packs/only%20here");
}

TEST_F(PackMirrorTest, AnyFailureOfTheMirrorIsAnsweredFromTheStore) {
  for (const std::string& answer :
       {http_answer(500, "oops"), http_answer(403, ""), http_answer(302, "", "Location: /x\r\n"), std::string(),
        http_answer(200, "the whole object, although a part was asked for"),
        http_answer(206, "wrong", "Content-Range: bytes 0-4/36\r\n"), http_answer(206, "wrong"),
        std::string(
            "HTTP/1.1 206 OK\r\nContent-Range: bytes 10-14/36\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab")}) {
    ScriptedServer server([&answer](const ScriptedServer::Request&) { return answer; });
    const auto packs = mirror(server.url());
    EXPECT_EQ(packs->read("packs/p", 10, 5, {}).value(), "abcde") << answer;
    EXPECT_EQ(packs->counts().fallbacks, 1u) << answer;
  }
}

TEST_F(PackMirrorTest, ADeadMirrorIsAskedOnlyAFewTimes) {
  const auto packs = mirror("http://127.0.0.1:1");
  for (int i = 0; i < 50; ++i) EXPECT_EQ(packs->read("packs/p", 0, 1, {}).value(), "0");
  EXPECT_GE(packs->counts().fallbacks, 3u);
  EXPECT_LT(packs->counts().fallbacks, 10u) << "its rests double";
  EXPECT_EQ(packs->counts().fallbacks + packs->counts().skipped, 50u);
}

TEST_F(PackMirrorTest, TheOriginIsReadOnRequest) {
  ScriptedServer server(
      [](const ScriptedServer::Request& request) { return range_answer(request, std::string(36, 'X')); });
  const auto packs = mirror(server.url());
  EXPECT_EQ(packs->read("packs/p", 10, 5, {}).value(), "XXXXX");
  EXPECT_EQ(packs->read("packs/p", 10, 5, {.route = Route::origin}).value(), "abcde");
}

TEST_F(PackMirrorTest, AStreamGoesOnFromTheStoreWhereTheMirrorStopped) {
  ScriptedServer server([](const ScriptedServer::Request&) {
    return std::string(
        "HTTP/1.1 206 OK\r\nContent-Range: bytes 10-29/36\r\nContent-Length: 20\r\nConnection: close\r\n\r\nabcd");
  });
  const auto packs = mirror(server.url());
  std::string seen;
  EXPECT_TRUE(packs->stream("packs/p", {10, 20},
                            [&seen](std::string_view bytes) -> Result<> {
                              seen += bytes;
                              return {};
                            },
                            {}));
  EXPECT_EQ(seen, std::string(kContent).substr(10, 20));
}

TEST_F(PackMirrorTest, ASinksErrorIsNoFailureOfTheMirror) {
  ScriptedServer server([](const ScriptedServer::Request& request) { return range_answer(request, kContent); });
  const auto packs = mirror(server.url());
  const auto refuse = [](std::string_view) -> Result<> { return fail(ErrorCode::exhausted, "full"); };
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(packs->stream("packs/p", {0, 5}, refuse, {}).error().code, ErrorCode::exhausted);
  EXPECT_TRUE(packs->read("packs/p", 0, 5, {}));
  EXPECT_EQ(packs->counts().skipped, 0u);
}

TEST_F(PackMirrorTest, SignsItsUrls) {
  const auto secret = folder_ / "secret";
  std::ofstream(secret) << "sixteen letters!\n";
  ScriptedServer server([](const ScriptedServer::Request& request) {
    const std::string path = request.path.substr(0, request.path.find('?'));
    const std::string query = request.path.substr(request.path.find('?') + 1);
    const int64_t expires = std::stoll(query.substr(query.find('=') + 1));
    const bool right = query == signed_url_query("sixteen letters!", path, expires);
    const bool fresh = expires > to_unix_us(wall_now()) / 1'000'000;
    return right && fresh ? range_answer(request, kContent) : http_answer(403, "");
  });
  const auto packs = mirror(server.url() + "/cdn", secret);
  EXPECT_EQ(packs->read("packs/p", 10, 5, {}).value(), "abcde");
  EXPECT_EQ(packs->counts().mirror_reads, 1u);
}

TEST_F(PackMirrorTest, WrongSettingsAreRefusedWithTheReason) {
  const auto refused = [this](const std::string& url, const std::filesystem::path& secret = {}) {
    return PackMirror::open({.url = url, .secret_file = secret}, store_).error();
  };
  EXPECT_EQ(refused("cdn.example.org").code, ErrorCode::invalid_argument);
  EXPECT_EQ(refused("http://").code, ErrorCode::invalid_argument);
  EXPECT_EQ(refused("https://cdn/x?y").code, ErrorCode::invalid_argument);
  EXPECT_EQ(refused("https://cdn", folder_ / "absent").code, ErrorCode::not_found);
  std::ofstream(folder_ / "short") << "short\n";
  const Error error = refused("https://cdn", folder_ / "short");
  EXPECT_EQ(error.code, ErrorCode::invalid_argument);
  EXPECT_THAT(error.message, ::testing::Not(HasSubstr("short\n")));
}

}  // namespace
}  // namespace hearth::blob
