#include "build/builder.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "build/build_steps.hpp"
#include "catalog/catalog.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "mount/unpack_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <numeric>
#include <thread>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr uint32_t kIdBase = 2'000'000;

std::string why_not() {
  if (::geteuid() != 0) return "not root";
  for (const char* program : {"runc", "python3", "busybox"}) {
    if (!find_program(program)) return std::string(program) + " is not installed";
  }
  if (!fs::exists("/usr/bin/python3")) return "no Debian python3";
  if (!fs::exists("/usr/share/python-wheels")) return "python3-pip-whl is not installed";
  return "";
}

/// Runs a shell command of the test's own making.
void shell(const std::string& command) {
  auto exit = run_process({.args = {"/bin/sh", "-ec", command}});
  ASSERT_TRUE(exit) << exit.error().message;
  ASSERT_EQ(exit->code, 0) << command << "\n" << exit->output;
}

/// The host's own Python with what it needs, and BusyBox as a shell: a base that needs no network.
void make_python_root(const fs::path& root) {
  shell("root=" + root.string() + R"sh(
    mkdir -p $root/usr/bin $root/usr/lib $root/etc $root/usr/local/bin $root/var/lib
    ln -s usr/bin $root/bin; ln -s usr/lib $root/lib; mkdir -p $root/usr/lib64; ln -s usr/lib64 $root/lib64
    python=$(readlink -f /usr/bin/python3); name=$(basename $python)
    cp $python $root/usr/bin/; ln -s $name $root/usr/bin/python3
    cp "$(readlink -f "$(command -v busybox)")" $root/usr/bin/busybox
    for tool in sh mkdir rm cat ls; do ln -s busybox $root/usr/bin/$tool; done
    cp -a /usr/lib/$name $root/usr/lib/
    rm -rf $root/usr/lib/$name/test $root/usr/lib/$name/__pycache__
    mkdir -p $root/usr/lib/python3/dist-packages
    for file in $python $root/usr/lib/$name/lib-dynload/*.so; do ldd $file 2>/dev/null || true; done |
      sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^\s*\(\/[^ ]*ld-linux[^ ]*\).*/\1/p' | sort -u |
      while read -r library; do mkdir -p $root$(dirname $library); cp -L $library $root$library; done
    echo 'root:x:0:0::/root:/bin/sh' > $root/etc/passwd
    echo 'ID=test' > $root/etc/os-release)sh");
}

/// A wheel made by hand: a package `tiny` that says hello.
void make_wheel(const fs::path& folder) {
  const fs::path script = folder / "make.py";
  ASSERT_TRUE(write_file_atomic(script, R"py(
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + '/tiny-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('tiny/__init__.py', 'def hello():\n    return "hello"\n')
    wheel.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n')
    wheel.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr('tiny-1.0.dist-info/RECORD', 'tiny/__init__.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n')
)py"));
  shell("/usr/bin/python3 " + script.string() + " " + folder.string() + "; rm " + script.string());
}

class BuilderTest : public testing::Test {
 protected:
  /// The base is made once for all tests.
  static void SetUpTestSuite() {
    if (!why_not().empty()) return;
    shared_ = fs::path("/var/tmp") / ("hearth-build-" + random_id(8));
    fs::create_directories(shared_);
    make_python_root(shared_ / "root");
    store_ = *blob::open_store((shared_ / "store").string(), blob::IfMissing::create);
    auto layer = image::build_layer_from_directory(store_, image::StoreScope::shared(), shared_ / "root");
    ASSERT_TRUE(layer) << layer.error().message;
    catalog::ImageRecord base{.name = "python",
                              .layer = {layer->digest, layer->content_bytes, catalog::LayerRole::base},
                              .source = "test",
                              .created = wall_now(),
                              .python = "/usr/bin/python3",
                              .identity = base_identity(),
                              .details = "{}"};
    ASSERT_TRUE(catalog::Catalog(store_).set_image({catalog::ImageScope::shared, "", "python"}, base));
    fs::remove_all(shared_ / "root");
    backend_ = *mount::UnpackBackend::open(shared_ / "imagefs", store_);
  }
  static void TearDownTestSuite() {
    if (shared_.empty()) return;
    backend_.reset();
    store_.reset();
    fs::remove_all(shared_);
  }

  void SetUp() override {
    if (const std::string why = why_not(); !why.empty()) GTEST_SKIP() << why;
    folder_ = shared_ / random_id(8);
    fs::create_directories(folder_ / "model");
    fs::permissions(shared_, fs::perms(0711));
    fs::permissions(folder_, fs::perms(0711));
    auto runtime = container::ContainerRuntime::open({.run_dir = folder_ / "run", .cgroup_parent = cgroup_},
                                                     std::make_shared<container::DirectSpawner>());
    ASSERT_TRUE(runtime) << runtime.error().message;
    runtime_ = std::make_shared<container::ContainerRuntime>(std::move(*runtime));
    BuilderConfig config;
    config.store = store_;
    config.mount_layer = [](const std::string& workspace, const Digest& digest) {
      return backend_->mount_layer({.workspace = workspace, .digest = digest}, [](const mount::LayerProgress&) {});
    };
    config.runtime = runtime_;
    config.directory = folder_ / "node";
    config.ids = {.host_base = kIdBase};
    auto builder = Builder::open(std::move(config));
    ASSERT_TRUE(builder) << builder.error().message;
    builder_ = std::move(*builder);
  }
  void TearDown() override {
    if (!runtime_) return;
    EXPECT_TRUE(fs::is_empty(folder_ / "node/build")) << "temporary folders are left";
    EXPECT_TRUE(runtime_->list()->empty()) << "containers are left";
    auto cgroup = container::Cgroup::open(cgroup_);
    if (cgroup) EXPECT_TRUE(cgroup->remove());
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((folder_ / "model" / path).parent_path());
    ASSERT_TRUE(write_file_atomic(folder_ / "model" / path, text));
  }

  /// Uploads the model folder as the command line does.
  Manifest upload() {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "model")) {
      struct stat info{};
      EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
      nlohmann::json item = {{"path", entry.path().lexically_relative(folder_ / "model").string()},
                             {"mode", info.st_mode & 0777},
                             {"mtime_ns", info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec}};
      item["type"] = entry.is_directory() ? "dir" : "file";
      if (!entry.is_directory()) {
        const std::string bytes = *read_file(entry.path());
        item["size"] = bytes.size();
        item["parts"] = nlohmann::json::array({Digest::of(bytes).hex()});
        EXPECT_TRUE(store_->create("ws/default/uploads/" + Digest::of(bytes).hex(), bytes));
      }
      list.push_back(item);
    }
    return *parse_manifest(list.dump());
  }

  Result<BuildResult> build(const std::string& more = "") {
    auto config = catalog::parse_model_config("[model]\nname = \"m\"\nhandler = \"model:predict\"\n" + more);
    EXPECT_TRUE(config) << config.error().message;
    log_.clear();
    return builder_->build({"default", *config, upload()}, [this](const Progress& progress) {
      log_ += progress.phase + " " + progress.message + " " + progress.log + "\n";
    });
  }

  /// What a Python program prints inside the built image.
  std::string run_in_image(const catalog::ImageSpec& image, const std::string& program) {
    container::ContainerSpec spec;
    spec.id = "t-" + random_id(6);
    spec.argv = {image.python, "-c", program};
    spec.cwd = "/model";
    spec.ids = {.host_base = kIdBase};
    for (const auto& layer : image.layers) {
      auto mount =
          backend_->mount_layer({.workspace = "default", .digest = layer.digest}, [](const mount::LayerProgress&) {});
      EXPECT_TRUE(mount) << mount.error().message;
      spec.layers.push_back(std::move(*mount));
    }
    for (const auto& artifact : image.artifacts) {
      auto mount = backend_->mount_layer({.workspace = "default", .digest = artifact.layer.digest},
                                         [](const mount::LayerProgress&) {});
      EXPECT_TRUE(mount) << mount.error().message;
      spec.binds.push_back({.target = artifact.to, .source = artifact.from, .tree = std::move(*mount)});
    }
    std::string output;
    auto code = runtime_->run(
        std::move(spec), [&output](std::string_view bytes) { output += bytes; },
        Deadline::after(mono_now(), seconds(60)));
    EXPECT_TRUE(code) << code.error().message;
    return output;
  }

  /// Every byte of every layer.
  std::string all_content(const catalog::ImageSpec& image) {
    std::string content;
    for (const auto& layer : image.layers) {
      if (layer.role == catalog::LayerRole::base) continue;
      auto reader = image::LayerReader::open(store_, "default", layer.digest);
      EXPECT_TRUE(reader) << reader.error().message;
      content += *store_->get(image::StoreScope::workspace("default").layer_key(layer.digest));
      std::vector<uint32_t> chunks(reader->index().chunk_count());
      std::iota(chunks.begin(), chunks.end(), 0u);
      EXPECT_TRUE(reader->read_chunks(chunks, [&content](uint32_t, std::string_view bytes) -> Result<> {
        content += bytes;
        return {};
      }));
    }
    return content;
  }

  static inline fs::path shared_;
  static inline std::shared_ptr<blob::ObjectStore> store_;
  static inline std::unique_ptr<mount::UnpackBackend> backend_;
  const std::string cgroup_ = "/hearth-build-" + random_id(6);
  fs::path folder_;
  std::shared_ptr<container::ContainerRuntime> runtime_;
  std::unique_ptr<Builder> builder_;
  std::string log_;
};

TEST_F(BuilderTest, CodeAloneIsBaseAndCode) {
  write("model.py", "def predict(x):\n    return x + 1\n");
  auto built = build();
  ASSERT_TRUE(built) << built.error().message;
  ASSERT_EQ(built->image.layers.size(), 2u);
  EXPECT_EQ(built->image.python, "/usr/bin/python3");
  EXPECT_EQ(built->stale_pyc, 0u);
  EXPECT_EQ(
      run_in_image(built->image,
                   "import os, model, sys; print(model.predict(1), model.__cached__, os.path.exists(model.__cached__), "
                   "os.stat('model.py').st_uid)"),
      "2 /model/__pycache__/model.cpython-" + std::string("311.pyc True 0\n"));
}

TEST_F(BuilderTest, EqualFoldersMakeEqualLayers) {
  write("model.py", "def predict(x):\n    return x\n");
  auto first = build();
  auto second = build();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->image, second->image);
}

TEST_F(BuilderTest, WheelsAreInstalledWithoutNetworkAndValidBytecode) {
  write("model.py", "import tiny\ndef predict():\n    return tiny.hello()\n");
  fs::create_directories(folder_ / "model/wheels");
  make_wheel(folder_ / "model/wheels");
  const std::string toml = "[image]\npython_packages = [\"tiny==1.0\"]\nwheels = \"wheels/\"\n";
  auto built = build(toml);
  ASSERT_TRUE(built) << built.error().message << log_;
  ASSERT_EQ(built->image.layers.size(), 3u);
  EXPECT_EQ(built->stale_pyc, 0u);
  EXPECT_EQ(run_in_image(built->image,
                         "import os, model, tiny; print(model.predict(), os.path.exists(tiny.__cached__), "
                         "os.path.exists('/model/wheels'), os.path.exists('/.hearth-tmp'), os.listdir('/root') if "
                         "os.path.exists('/root') else [])"),
            "hello True False False []\n");

  // Other code, the same packages: nothing is installed again.
  write("model.py", "import tiny\ndef predict():\n    return tiny.hello() + '!'\n");
  auto again = build(toml);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->image.layers[1], built->image.layers[1]);
  EXPECT_NE(again->image.layers[2], built->image.layers[2]);
  EXPECT_THAT(log_, HasSubstr("taken from an earlier build"));
}

TEST_F(BuilderTest, ArtifactsLieBesideTheCode) {
  write("model.py", "def predict():\n    return open('/model/weights.bin').read() + open('/model/data/b').read()\n");
  write("files/w.bin", "W");
  write("files/tree/b", "B");
  auto built = build("[artifacts]\n\"weights.bin\" = \"files/w.bin\"\n\"data\" = \"files/tree\"\n");
  ASSERT_TRUE(built) << built.error().message;
  ASSERT_EQ(built->image.artifacts.size(), 2u);
  EXPECT_EQ(run_in_image(built->image, "import os, model; print(model.predict(), sorted(os.listdir('/model/files')))"),
            "WB []\n");
}

TEST_F(BuilderTest, AMissingHandlerIsNamedWithTheNearest) {
  write("model.py", "def predikt(x):\n    return x\n");
  EXPECT_EQ(build().error().message,
            "model.handler = \"model:predict\": model.py has no function predict; did you mean \"predikt\"?");
  fs::rename(folder_ / "model/model.py", folder_ / "model/other.py");
  EXPECT_THAT(build().error().message, HasSubstr("there is no file model.py in the folder"));
}

TEST_F(BuilderTest, ASyntaxErrorIsNamedWithFileAndLine) {
  write("model.py", "x = 1\ndef predict(:\n");
  EXPECT_THAT(build().error().message, HasSubstr("model.py line 2"));
}

TEST_F(BuilderTest, DeployingRunsNoCodeOfTheModel) {
  write("model.py", "raise SystemExit('ran')\ndef predict(x):\n    return x\n");
  auto built = build();
  EXPECT_TRUE(built) << built.error().message;
}

TEST_F(BuilderTest, APackageThatCannotBeInstalledFailsWithThePipLog) {
  write("model.py", "def predict():\n    return 1\n");
  fs::create_directories(folder_ / "model/wheels");
  make_wheel(folder_ / "model/wheels");
  auto built = build("[image]\npython_packages = [\"nosuchpackage==9\"]\nwheels = \"wheels\"\n");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(built.error().message, AllOf(HasSubstr("could not be installed"), HasSubstr("nosuchpackage")));
}

TEST_F(BuilderTest, WhatHearthTomlNamesMustBeInTheFolder) {
  write("model.py", "def predict():\n    return 1\n");
  EXPECT_THAT(build("[image]\nrequirements = \"requirements.txt\"\n").error().message,
              HasSubstr("requirements.txt is named in hearth.toml but is not in the folder"));
  EXPECT_THAT(build("[image]\npython_packages = [\"a\"]\nwheels = \"wheels\"\n").error().message,
              HasSubstr("wheels, which is not in the folder"));
  EXPECT_THAT(build("[artifacts]\n\"w\" = \"gone\"\n").error().message, HasSubstr("gone, which is not in the folder"));
  EXPECT_THAT(build("[image]\nbase = \"nosuchbase\"\n").error().message, HasSubstr("no image named nosuchbase"));
  EXPECT_THAT(build("[image]\nbase = \"oci:/etc\"\n").error().message, HasSubstr("hearth image import"));
  EXPECT_THAT(build("[image]\nsystem_packages = [\"libfoo\"]\n").error().message, HasSubstr("no apt-get"));
}

TEST_F(BuilderTest, ACancelledBuildLeavesNothing) {
  write("model.py", "def predict():\n    return 1\n");
  std::stop_source stop;
  auto config = catalog::parse_model_config("[model]\nname = \"m\"\nhandler = \"model:predict\"\n");
  auto built = builder_->build(
      {"default", *config, upload()},
      [&stop](const Progress& progress) {
        if (progress.phase == "code") stop.request_stop();
      },
      stop.get_token());
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::cancelled);
}

/// A package index on this host that wants a password.
class BuilderIndexTest : public BuilderTest {
 protected:
  void SetUp() override {
    BuilderTest::SetUp();
    if (IsSkipped()) return;
    make_wheel(folder_);
    const fs::path script = folder_ / "index.py";
    ASSERT_TRUE(write_file_atomic(script, R"py(
import base64, http.server, sys
folder, expected = sys.argv[1], 'Basic ' + base64.b64encode(sys.argv[2].encode()).decode()
WHEEL = 'tiny-1.0-py3-none-any.whl'
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get('Authorization') != expected:
            self.send_response(401)
            self.send_header('WWW-Authenticate', 'Basic realm="index"')
            self.end_headers()
            return
        body = open(folder + '/' + WHEEL, 'rb').read() if self.path.endswith('.whl') else (
            '<a href="/files/%s">%s</a>' % (WHEEL, WHEEL)).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/octet-stream' if self.path.endswith('.whl') else 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
open(folder + '/port', 'w').write(str(server.server_port))
server.serve_forever()
)py"));
    server_ = ::fork();
    if (server_ == 0) {
      ::execl("/usr/bin/python3", "python3", script.c_str(), folder_.c_str(), "builder:hunter2secret", nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 200 && read_file(folder_ / "port").value_or("").empty(); ++i) {
      std::this_thread::sleep_for(milliseconds(50));
    }
    port_ = read_file(folder_ / "port").value_or("");
    ASSERT_FALSE(port_.empty());
  }
  void TearDown() override {
    ::unsetenv("PIP_INDEX_URL");
    if (server_ > 0) {
      ::kill(server_, SIGKILL);
      ::waitpid(server_, nullptr, 0);
    }
    BuilderTest::TearDown();
  }

  pid_t server_ = -1;
  std::string port_;
};

TEST_F(BuilderIndexTest, CredentialsOfTheHostReachTheIndexAndNothingElse) {
  write("model.py", "import tiny\ndef predict():\n    return tiny.hello()\n");
  ::setenv("PIP_INDEX_URL", ("http://builder:hunter2secret@127.0.0.1:" + port_ + "/simple").c_str(), 1);
  auto built = build("[image]\npython_packages = [\"tiny\"]\n");
  ASSERT_TRUE(built) << built.error().message << log_;
  EXPECT_EQ(run_in_image(built->image, "import model; print(model.predict())"), "hello\n");
  EXPECT_THAT(log_, AllOf(HasSubstr("tiny"), Not(HasSubstr("hunter2secret"))));
  const std::string content = all_content(built->image);
  EXPECT_THAT(content, HasSubstr("return \"hello\""));
  for (const char* secret : {"hunter2secret", "/hearth/build", "127.0.0.1:"}) {
    EXPECT_FALSE(content.contains(secret)) << secret;
  }
}

TEST_F(BuilderIndexTest, AFailureShowsNoCredentialEither) {
  write("model.py", "def predict():\n    return 1\n");
  ::setenv("PIP_INDEX_URL", ("http://builder:wrongsecret@127.0.0.1:" + port_ + "/simple").c_str(), 1);
  ::setenv("PIP_RETRIES", "0", 1);
  auto built = build("[image]\npython_packages = [\"tiny\", \"tiny2\"]\n");
  ::unsetenv("PIP_RETRIES");
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().message, AllOf(HasSubstr("could not be installed"), Not(HasSubstr("wrongsecret"))));
  EXPECT_THAT(log_, Not(HasSubstr("wrongsecret")));
}

/// Takes minutes and the network: runs when HEARTH_TEST_BASE is set.
TEST_F(BuilderTest, TheRealBaseTakesSystemAndPythonPackages) {
  if (::getenv("HEARTH_TEST_BASE") == nullptr) GTEST_SKIP() << "set HEARTH_TEST_BASE=1 to build the real base";
  // A store of its own, so that the base of the other tests is not there.
  BuilderConfig config;
  auto store = *blob::open_store((folder_ / "store").string(), blob::IfMissing::create);
  auto backend = *mount::UnpackBackend::open(folder_ / "imagefs", store);
  config.store = store;
  config.mount_layer = [&backend](const std::string& workspace, const Digest& digest) {
    return backend->mount_layer({.workspace = workspace, .digest = digest}, [](const mount::LayerProgress&) {});
  };
  config.runtime = runtime_;
  config.directory = folder_ / "node";
  config.ids = {.host_base = kIdBase};
  auto builder = *Builder::open(std::move(config));
  const auto show = [](const Progress& progress) {
    std::cerr << progress.phase << " " << progress.done << "/" << progress.total << " " << progress.message
              << progress.log << "\n";
  };
  auto base = builder->ensure_base(show);
  ASSERT_TRUE(base) << base.error().message;
  EXPECT_EQ(base->python, "/usr/bin/python3");
  EXPECT_EQ(image::parse_image_record(base->details)->layer.stale_pyc, 0u);
  auto again = builder->ensure_base(show);
  EXPECT_EQ(again->layer, base->layer);

  write("model.py", "import sklearn\ndef predict():\n    return sklearn.__version__\n");
  const Manifest files = upload();
  for (const ManifestEntry& entry : files) {
    for (const Digest& part : entry.parts) {
      const std::string key = "ws/default/uploads/" + part.hex();
      ASSERT_TRUE(store->create(key, *store_->get(key)));
    }
  }
  auto toml = catalog::parse_model_config(
      "[model]\nname = \"m\"\nhandler = \"model:predict\"\n[image]\npython_packages = [\"scikit-learn==1.5.2\"]\n"
      "system_packages = [\"libsndfile1\"]\n");
  for (int round = 0; round < 2; ++round) {
    const MonoTime start = mono_now();
    auto built = builder->build({"default", *toml, files}, show);
    ASSERT_TRUE(built) << built.error().message;
    std::cerr << "built in " << std::chrono::duration<double>(mono_now() - start).count() << " s\n";
    EXPECT_EQ(built->stale_pyc, 0u);
    auto reader = image::LayerReader::open(store, "default", built->image.layers[1].digest);
    ASSERT_TRUE(reader);
    const auto& index = reader->index();
    EXPECT_TRUE(index.lookup("usr/local/lib/python3.11/dist-packages/sklearn/__init__.py"));
    for (const char* gone : {"hearth", ".hearth-tmp", "var/lib/apt/lists", "var/cache", "var/log", "etc/apt", "root"}) {
      EXPECT_FALSE(index.lookup(gone)) << gone;
    }
    const auto top = index.inode(0);
    for (uint32_t i = 0; i < top.count; ++i) std::cerr << "/" << index.entry(top, i).name << "\n";
  }
}

}  // namespace
}  // namespace hearth::build
