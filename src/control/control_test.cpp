#include "base/random_id.hpp"
#include "blob/intent.hpp"
#include "catalog/catalog.hpp"
#include "control/control_api.hpp"
#include "net/byte_channel.hpp"
#include "net/listen.hpp"
#include "record/record_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <optional>

namespace hearth::control {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kToml = "[model]\nname = \"digits\"\nhandler = \"model:predict\"\n";

/// A process around the API: a catalog on a directory store, and a node whose calls the test answers.
class FakeHost final : public Host {
 public:
  FakeHost(net::EventLoop& event_loop, net::BlockingPool& blocking, std::shared_ptr<blob::ObjectStore> objects,
           fs::path spool_folder)
      : loop_(event_loop), pool_(blocking), store_(std::move(objects)), spool_(std::move(spool_folder)) {}

  net::EventLoop& loop() override { return loop_; }
  net::BlockingPool& pool() override { return pool_; }
  std::shared_ptr<blob::ObjectStore> store() override { return store_; }
  std::shared_ptr<const catalog::Snapshot> snapshot() override {
    if (auto fresh = catalog::Catalog(store_).refresh(snapshot_)) snapshot_ = *fresh;
    return snapshot_;
  }
  void refresh_catalog(net::Job done) override { loop_.post(std::move(done)); }
  void call_node(NodeCall call) override {
    if (const auto answer = answers.find(call.method); answer != answers.end()) {
      return loop_.post([done = call.done, value = answer->second] { done(value); });
    }
    calls.push_back(std::move(call));
  }
  bool node_connected() override { return true; }
  void warm(const catalog::BranchRef& branch, uint32_t version) override {
    warmed.push_back(branch.model + "/" + branch.branch + "/" + std::to_string(version));
  }
  std::string public_url() override { return "https://models.example"; }
  fs::path spool() override { return spool_; }

  std::vector<NodeCall> calls;                         // waiting for the test to answer
  std::map<std::string, Result<std::string>> answers;  // by method, given at once
  std::vector<std::string> warmed;

 private:
  net::EventLoop& loop_;
  net::BlockingPool& pool_;
  std::shared_ptr<blob::ObjectStore> store_;
  fs::path spool_;
  std::shared_ptr<const catalog::Snapshot> snapshot_;
};

struct HttpReply {
  int status = 0;
  std::string body;
  json parsed() const { return json::parse(body, nullptr, false); }
};

/// The API behind a real HTTP server on the test's loop; bodies are read to the end of the connection.
class ControlTest : public testing::Test {
 protected:
  ControlTest()
      : folder_(fs::temp_directory_path() / ("hearth-control-" + random_id())),
        pool_(std::make_unique<net::BlockingPool>(loop_, 2)) {
    fs::create_directories(folder_ / "store");
    store_ = *blob::open_store((folder_ / "store").string());
    host_ = std::make_unique<FakeHost>(loop_, *pool_, store_, folder_ / "spool");
    host_->answers.emplace("status", R"({"node":"n1","replicas":[]})");
    host_->answers.emplace("forget", "{}");
    api_ = std::make_unique<ControlApi>(*host_);
    auto listening = *net::listen_tcp("127.0.0.1:0");
    address_ = *net::local_address(listening.get());
    server_ = *net::HttpServer::start(
        loop_, std::move(listening), {.body_limit_bytes = 16u << 20},
        [this](net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange) {
          const std::string workspace(request.headers.find("X-Test-Workspace").value_or("default"));
          api_->handle(std::move(request), std::move(exchange), {.workspace = workspace});
        });
  }
  ~ControlTest() override {
    server_.reset();
    loop_.run_until([this] { return loop_.tasks() == 0; }, seconds(5));
    pool_.reset();
    fs::remove_all(folder_);
  }

  /// Sends and collects until the server closes the connection.
  struct Pending {
    std::shared_ptr<net::ByteChannel> channel;
    std::string raw;
    bool closed = false;
  };
  std::shared_ptr<Pending> send(const std::string& method, const std::string& path, const std::string& body = "",
                                const std::string& workspace = "default") {
    auto pending = std::make_shared<Pending>();
    pending->channel = *net::ByteChannel::connect_tcp(loop_, address_);
    Pending* raw = pending.get();  // it owns the channel
    pending->channel->start({.on_data = [raw](std::string_view bytes) { raw->raw += bytes; },
                             .on_close = [raw](const Error&) { raw->closed = true; }});
    pending->channel->write(method + " /api/v1/" + path +
                            " HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX-Test-Workspace: " + workspace +
                            "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return pending;
  }
  HttpReply finish(const std::shared_ptr<Pending>& pending) {
    EXPECT_TRUE(loop_.run_until([&pending] { return pending->closed; }, seconds(10))) << "no answer";
    HttpReply reply;
    if (pending->raw.size() < 12) return reply;
    reply.status = std::stoi(pending->raw.substr(9, 3));
    reply.body = pending->raw.substr(pending->raw.find("\r\n\r\n") + 4);
    if (pending->raw.find("chunked") < pending->raw.find("\r\n\r\n")) reply.body = unchunk(reply.body);
    return reply;
  }
  static std::string unchunk(std::string_view text) {
    std::string out;
    while (!text.empty()) {
      const size_t line = text.find("\r\n");
      const size_t size = std::stoul(std::string(text.substr(0, line)), nullptr, 16);
      out += text.substr(line + 2, size);
      text.remove_prefix(std::min(text.size(), line + 4 + size));
    }
    return out;
  }
  HttpReply call(const std::string& method, const std::string& path, const std::string& body = "") {
    return finish(send(method, path, body));
  }
  static std::vector<json> lines(const std::string& body) {
    std::vector<json> out;
    size_t at = 0;
    while (at < body.size()) {
      const size_t end = body.find('\n', at);
      if (end > at) out.push_back(json::parse(body.substr(at, end - at)));
      at = end + 1;
    }
    return out;
  }
  std::string deployment(const json& files = json::array()) {
    return json({{"branch", "main"}, {"config_toml", kToml}, {"files", files}}).dump();
  }
  void add_version() {
    ASSERT_TRUE(catalog::Catalog(store_).create_version(
        {.branch = {"default", "digits", "main"}, .config = *catalog::parse_model_config(kToml)}));
  }

  fs::path folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::BlockingPool> pool_;
  std::shared_ptr<blob::ObjectStore> store_;
  std::unique_ptr<FakeHost> host_;
  std::unique_ptr<ControlApi> api_;
  std::string address_;
  std::unique_ptr<net::HttpServer> server_;
};

TEST_F(ControlTest, TakesUploadsOnce) {
  const std::string bytes = "weights";
  const std::string hex = Digest::of(bytes).hex();
  const std::string question = json({{"digests", {hex}}}).dump();
  EXPECT_EQ(call("POST", "uploads/missing", question).parsed()["missing"], json::array({hex}));
  EXPECT_EQ(call("PUT", "uploads/" + hex, bytes).status, 201);
  EXPECT_EQ(call("PUT", "uploads/" + hex, bytes).status, 200);
  EXPECT_EQ(call("POST", "uploads/missing", question).parsed()["missing"], json::array());
  EXPECT_EQ(finish(send("POST", "uploads/missing", question, "other")).parsed()["missing"].size(), 1u)
      << "another workspace sees nothing of it";
}

/// Garbage collection that begins after the session spares what is condemned for as long as its intent stands.
TEST_F(ControlTest, AnUploadSessionStandsInTheStoreUntilItsDeploymentIsBuilt) {
  const auto session = call("POST", "uploads", "{}").parsed()["session"].get<std::string>();
  const auto stands = [this, &session] { return !store_->list("ws/default/intents/" + session + "/")->empty(); };
  EXPECT_TRUE(stands());
  const std::string hex = Digest::of("part").hex();
  EXPECT_EQ(call("PUT", "uploads/" + hex + "?session=" + session, "part").status, 201);
  const std::string question = json({{"digests", {hex}}, {"session", session}}).dump();
  EXPECT_EQ(call("POST", "uploads/missing", question).parsed()["missing"], json::array());
  EXPECT_EQ(finish(send("POST", "uploads/missing", question, "other")).status, 404) << "it is its workspace's alone";

  auto request = json::parse(deployment());
  request["session"] = session;
  const auto id = call("POST", "deployments", request.dump()).parsed()["operation"].get<std::string>();
  ASSERT_TRUE(loop_.run_until([this] { return !host_->calls.empty(); }));
  EXPECT_TRUE(stands()) << "the node may still read the parts";
  host_->calls[0].done(fail(ErrorCode::internal, "no disk"));
  EXPECT_EQ(lines(call("GET", "operations/" + id + "/events").body).back()["error"], "no disk");
  EXPECT_FALSE(stands());
  EXPECT_EQ(call("POST", "uploads/missing", question).status, 404);
  EXPECT_EQ(call("PUT", "uploads/" + hex + "?session=" + session, "part").status, 404);
}

TEST_F(ControlTest, RefusesUploadsThatAreNotWhatTheySay) {
  const std::string hex = Digest::of("a").hex();
  EXPECT_EQ(call("PUT", "uploads/" + hex, "b").status, 400);
  EXPECT_EQ(call("PUT", "uploads/xyz", "b").status, 400);
  EXPECT_EQ(call("PUT", "uploads/" + hex, std::string((4 << 20) + 1, 'x')).status, 413);
  EXPECT_FALSE(*store_->size("ws/default/uploads/" + hex));
}

TEST_F(ControlTest, AColdStartIsReportedByTheNodeThatRanIt) {
  ASSERT_TRUE(
      catalog::Catalog(store_).create_version({.branch = {"default", "digits", "main"}, .config = {}, .image = {}}));
  const auto pending = send("GET", "models/digits/cold-start");
  ASSERT_TRUE(loop_.run_until([this] { return !host_->calls.empty(); }, seconds(10)));
  EXPECT_EQ(host_->calls[0].method, "start_report");
  EXPECT_EQ(json::parse(host_->calls[0].params),
            json::parse(R"({"workspace":"default","model":"digits","branch":"main","version":0})"));
  host_->calls[0].done(R"({"node":"n1","phases":[]})");
  const HttpReply reply = finish(pending);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.parsed()["node"], "n1");
  EXPECT_EQ(finish(send("GET", "models/other/cold-start")).status, 404);
  EXPECT_EQ(finish(send("GET", "models/digits/cold-start?version=2")).status, 404);
  EXPECT_EQ(finish(send("GET", "models/digits/cold-start", "", "foreign")).status, 404);
}

TEST_F(ControlTest, DeploysAndTellsHowItGoes) {
  const auto started = call("POST", "deployments", deployment());
  ASSERT_EQ(started.status, 202) << started.body;
  ASSERT_TRUE(loop_.run_until([this] { return !host_->calls.empty(); }));
  const auto events = send("GET", "operations/" + started.parsed()["operation"].get<std::string>() + "/events");
  const NodeCall build = host_->calls.front();
  EXPECT_EQ(build.method, "build");
  EXPECT_EQ(json::parse(build.params)["config_toml"], kToml);
  build.progress(R"({"phase":"build","log":"installing"})");
  build.done(json({{"image", json::parse(catalog::image_spec_to_json({}))}, {"stale_pyc", 3}}).dump());
  const auto seen = lines(finish(events).body);
  ASSERT_GE(seen.size(), 3u);
  EXPECT_EQ(seen.front()["log"], "installing");
  EXPECT_EQ(seen.back()["result"], json::parse(R"({"workspace":"default","model":"digits","branch":"main","version":1,
    "stale_pyc":3,"url":"https://models.example/v1/digits/main/1"})"));
  EXPECT_EQ(host_->warmed, std::vector<std::string>{"digits/main/1"});
}

TEST_F(ControlTest, ADeploymentGoesOnWhenItsClientLeavesAndIsReplayed) {
  const auto id = call("POST", "deployments", deployment()).parsed()["operation"].get<std::string>();
  auto watcher = send("GET", "operations/" + id + "/events");
  ASSERT_TRUE(loop_.run_until([this] { return !host_->calls.empty(); }));
  host_->calls[0].progress(R"({"phase":"one"})");
  ASSERT_TRUE(loop_.run_until([&watcher] { return watcher->raw.find("one") != std::string::npos; }));
  watcher->channel->close();
  host_->calls[0].progress(R"({"phase":"two"})");
  host_->calls[0].done(json({{"image", json::parse(catalog::image_spec_to_json({}))}}).dump());
  const auto seen = lines(call("GET", "operations/" + id + "/events").body);
  EXPECT_EQ(seen[0]["phase"], "one");
  EXPECT_EQ(seen[1]["phase"], "two");
  EXPECT_EQ(seen.back()["result"]["version"], 1);
}

TEST_F(ControlTest, AFailedBuildSaysWhyAndLeavesNoVersion) {
  host_->answers.emplace("build", fail(ErrorCode::invalid_argument, "no package named nope"));
  const auto id = call("POST", "deployments", deployment()).parsed()["operation"].get<std::string>();
  const auto seen = lines(call("GET", "operations/" + id + "/events").body);
  EXPECT_EQ(seen.back(), json::parse(R"({"error":"no package named nope","code":"invalid_argument"})"));
  EXPECT_EQ(call("GET", "models").parsed()["models"], json::array());
}

TEST_F(ControlTest, AnotherWorkspaceDoesNotSeeAnOperation) {
  const auto id = call("POST", "deployments", deployment()).parsed()["operation"].get<std::string>();
  EXPECT_EQ(finish(send("GET", "operations/" + id + "/events", "", "other")).status, 404);
  host_->calls.at(0).done(fail(ErrorCode::internal, "end"));
}

struct RefusalRow {
  const char* name;
  std::string method;
  std::string path;
  std::string body;
  int status;
  const char* error;
};
class Refusals : public ControlTest, public testing::WithParamInterface<RefusalRow> {};
TEST_P(Refusals, SayWhy) {
  add_version();
  const auto reply = call(GetParam().method, GetParam().path, GetParam().body);
  EXPECT_EQ(reply.status, GetParam().status) << reply.body;
  EXPECT_THAT(reply.parsed().value("error", ""), HasSubstr(GetParam().error));
}

const std::string kNoSuchPart(64, 'a');
INSTANTIATE_TEST_SUITE_P(
    Control, Refusals,
    testing::Values(
        RefusalRow{"NoSuchAddress", "GET", "nope", "", 404, "no such address"},
        RefusalRow{"WrongMethod", "PATCH", "models", "", 405, "takes GET"},
        RefusalRow{"NotJson", "POST", "deployments", "{", 400, "JSON object"},
        RefusalRow{"EndlessBrackets", "POST", "deployments",
                   R"({"files":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}", 400, "nested"},
        RefusalRow{"NoToml", "POST", "deployments", R"({"branch":"main"})", 400, "config_toml"},
        RefusalRow{"BrokenToml", "POST", "deployments",
                   R"({"branch":"main","config_toml":"[model]\nnme = 1","files":[]})", 400, "name"},
        RefusalRow{"BadBranch", "POST", "deployments",
                   json({{"branch", "../x"}, {"config_toml", kToml}, {"files", json::array()}}).dump(), 400, "branch"},
        RefusalRow{"PartNotUploaded", "POST", "deployments",
                   json({{"branch", "main"},
                         {"config_toml", kToml},
                         {"files", json::array({{{"path", "model.py"}, {"type", "file"}, {"parts", {kNoSuchPart}}}})}})
                       .dump(),
                   404, "not uploaded"},
        RefusalRow{"BadDigest", "POST", "uploads/missing", R"({"digests":["XYZ"]})", 400, "no digest"},
        RefusalRow{"UnknownOperation", "GET", "operations/x/events", "", 404, "no operation"},
        RefusalRow{"UnknownModelLogs", "GET", "models/nope/logs", "", 404, "no model"},
        RefusalRow{"UnknownModelRemoved", "DELETE", "models/nope", "", 404, "no model 'nope'"},
        RefusalRow{"UnknownVersionRemoved", "DELETE", "models/digits?version=9", "", 404, "version 9"},
        RefusalRow{"AliasOfUnknownVersion", "PUT", "models/digits/aliases/prod", R"({"version":9})", 404, "9"},
        RefusalRow{"AliasNamedLatest", "PUT", "models/digits/aliases/latest", R"({"version":1})", 400, "latest"},
        RefusalRow{"AliasWithoutVersion", "PUT", "models/digits/aliases/prod", "{}", 400, "version"},
        RefusalRow{"UnknownAliasRemoved", "DELETE", "models/digits/aliases/prod", "", 404, "prod"},
        RefusalRow{"NamelessKey", "POST", "keys", R"({"name":""})", 400, "name"},
        RefusalRow{"UnknownKey", "DELETE", "keys/nope", "", 404, "nope"},
        RefusalRow{"UnknownImage", "GET", "images/nope", "", 404, "nope"},
        RefusalRow{"BadImageSource", "POST", "images", R"({"name":"x","source":{"kind":"zip"}})", 400, "kind"},
        RefusalRow{"NegativeGrace", "POST", "store/gc", R"({"grace_seconds":-1})", 400, "grace_seconds"},
        RefusalRow{"GraceOfAThousandYears", "POST", "store/gc", R"({"grace_seconds":1e12})", 400, "grace_seconds"},
        RefusalRow{"DeepIsNoFlag", "POST", "store/verify", R"({"deep":"yes"})", 400, "deep"},
        RefusalRow{"BadSince", "GET", "models/digits/logs?since=yesterday", "", 400, "since"},
        RefusalRow{"BadLimit", "GET", "models/digits/logs?limit=0", "", 400, "limit"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(ControlTest, ListsModelsWithAliasesAndStates) {
  add_version();
  add_version();
  ASSERT_EQ(call("PUT", "models/digits/aliases/prod", R"({"version":1})").status, 200);
  host_->answers.at("status") =
      R"({"node":"n1","replicas":[{"workspace":"default","model":"digits","branch":"main","version":2,"state":"ready"},
          {"workspace":"other","model":"secret","branch":"main","version":1,"state":"ready"}]})";
  const json model = call("GET", "models").parsed()["models"].at(0);
  EXPECT_EQ(model["latest"], 2);
  EXPECT_EQ(model["aliases"], json::parse(R"({"prod":1})"));
  EXPECT_EQ(model["versions"][0]["state"], "stopped");
  EXPECT_EQ(model["versions"][1]["state"], "ready");
  EXPECT_EQ(call("GET", "status").parsed()["replicas"].size(), 1u) << "only the workspace's own";
  EXPECT_EQ(finish(send("GET", "models", "", "other")).parsed()["models"], json::array());
}

TEST_F(ControlTest, RemovesVersionsAndModels) {
  add_version();
  add_version();
  EXPECT_EQ(call("DELETE", "models/digits?version=1").parsed()["removed"].size(), 1u);
  EXPECT_EQ(call("DELETE", "models/digits").parsed()["removed"][0]["version"], 2);
  EXPECT_EQ(call("GET", "models").parsed()["models"], json::array());
}

TEST_F(ControlTest, MakesListsAndRevokesKeys) {
  const json made = call("POST", "keys", R"({"name":"ci"})").parsed();
  EXPECT_THAT(made["key"].get<std::string>(), HasSubstr("hk_"));
  const json listed = call("GET", "keys").parsed()["keys"];
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["name"], "ci");
  EXPECT_FALSE(listed[0].contains("key"));
  EXPECT_EQ(finish(send("DELETE", "keys/" + made["id"].get<std::string>(), "", "other")).status, 404);
  EXPECT_EQ(call("DELETE", "keys/" + made["id"].get<std::string>()).status, 200);
  EXPECT_EQ(call("GET", "keys").parsed()["keys"], json::array());
}

TEST_F(ControlTest, NamesAnImportedImage) {
  host_->answers.emplace(
      "import_image", catalog::image_record_to_json({.name = "deb", .source = "docker://debian:12", .details = "{}"}));
  const auto started = call("POST", "images", R"({"name":"deb","source":{"kind":"docker","reference":"debian:12"}})");
  ASSERT_EQ(started.status, 202) << started.body;
  const auto seen =
      lines(call("GET", "operations/" + started.parsed()["operation"].get<std::string>() + "/events").body);
  ASSERT_TRUE(seen.back().contains("result")) << seen.back();
  EXPECT_EQ(seen.back()["result"]["name"], "deb");
  EXPECT_EQ(call("GET", "images/deb").parsed()["source"], "docker://debian:12");
  EXPECT_EQ(call("GET", "images").parsed()["images"].size(), 1u);
}

/// A version that is written names the layers; then what kept them until now may end.
TEST_F(ControlTest, EndsTheIntentOfABuildOnceTheVersionIsWritten) {
  auto intent = *blob::Intent::begin(store_, {.workspace = "default", .owner = "test"});
  ASSERT_TRUE(intent->hand_over());
  const std::string id = intent->id();
  intent.reset();
  ASSERT_EQ(blob::read_intents(*store_, "default")->size(), 1u);
  const json built = {{"image", json::parse(catalog::image_spec_to_json({}))}, {"intent", id}};
  host_->answers.emplace("build", built.dump());
  const auto started = call("POST", "deployments", deployment()).parsed()["operation"].get<std::string>();
  EXPECT_TRUE(lines(call("GET", "operations/" + started + "/events").body).back().contains("result"));
  EXPECT_EQ(blob::read_intents(*store_, "default")->size(), 0u);
}

TEST_F(ControlTest, HasTheNodeLookAfterTheStore) {
  const auto started = call("POST", "store/gc", R"({"dry_run":true,"grace_seconds":0.5})");
  ASSERT_EQ(started.status, 202) << started.body;
  ASSERT_TRUE(loop_.run_until([this] { return !host_->calls.empty(); }));
  EXPECT_EQ(host_->calls[0].method, "store_gc");
  EXPECT_EQ(json::parse(host_->calls[0].params),
            json::parse(R"({"workspace":"default","dry_run":true,"grace_ms":500})"));
  host_->calls[0].progress(R"({"phase":"look"})");
  host_->calls[0].done(R"({"deleted":{"objects":1,"bytes":2}})");
  const auto seen =
      lines(call("GET", "operations/" + started.parsed()["operation"].get<std::string>() + "/events").body);
  EXPECT_EQ(seen.front()["phase"], "look");
  EXPECT_EQ(seen.back()["result"]["deleted"]["bytes"], 2);

  EXPECT_EQ(finish(send("POST", "store/verify", R"({"deep":true})", "other")).status, 202);
  ASSERT_TRUE(loop_.run_until([this] { return host_->calls.size() == 2; }));
  EXPECT_EQ(json::parse(host_->calls[1].params), json::parse(R"({"workspace":"other","deep":true})"));
  host_->calls[1].done("{}");
  EXPECT_EQ(call("POST", "store/du").status, 202) << "a body may be left out";
  ASSERT_TRUE(loop_.run_until([this] { return host_->calls.size() == 3; }));
  host_->calls[2].done("{}");
}

TEST_F(ControlTest, ShowsAndFollowsLogs) {
  auto writer = *record::RecordWriter::open({.directory = folder_ / "spool"}, store_);
  const auto append = [&writer](const char* id) {
    writer->append(
        {.id = id, .workspace = "default", .model = "digits", .branch = "main", .version = 1, .status = 200});
    ASSERT_TRUE(writer->flush());
  };
  append("first");
  EXPECT_EQ(lines(call("GET", "models/digits/logs").body).size(), 1u);
  const auto following = send("GET", "models/digits/logs?follow=1");
  ASSERT_TRUE(loop_.run_until([&following] { return following->raw.find("first") != std::string::npos; }));
  append("second");
  EXPECT_TRUE(loop_.run_until([&following] { return following->raw.find("second") != std::string::npos; }));
  following->channel->close();
  EXPECT_EQ(call("GET", "usage").parsed()["usage"][0]["requests"], 2);
}

TEST_F(ControlTest, SaysSoWhenTheStoreIsGone) {
  fs::rename(folder_ / "store", folder_ / "away");
  const auto reply = call("GET", "keys");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.parsed()["code"], "unavailable");
  fs::rename(folder_ / "away", folder_ / "store");
}

}  // namespace
}  // namespace hearth::control
