// Two whole nodes on one machine, each with its holder, its imagefs and real mounts: what one has, the other need not
// read from the store.
#include "base/file.hpp"
#include "blob/object_store.hpp"
#include "holder/server.hpp"
#include "image/layer_builder.hpp"
#include "mount/backend_probe.hpp"
#include "mount/imagefs.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/lazy_backends.hpp"
#include "net/listen.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>

namespace hearth::mount {
namespace {

namespace fs = std::filesystem;
using testing::must;
using testing::noise;
using testing::prose;
using testing::TemporaryFolder;
using Process = testing::ChildProcess;
using Contents = std::map<std::string, std::string>;

std::string free_address() {
  const auto listening = must(net::listen_tcp("127.0.0.1:0"));
  return must(net::local_address(listening.get()));
}

/// A holder and an imagefs, with all they keep in one folder.
class Node {
 public:
  Node(Config config, fs::path folder) : config_(std::move(config)), folder_(std::move(folder)) {
    fs::create_directories(folder_);
    config_.socket = folder_ / "imagefs.sock";
    config_.holder = folder_ / "holder.sock";
    config_.dir = folder_ / "imagefs";
    holder_ =
        std::make_unique<Process>([this] { return holder::serve({.socket = folder_ / "holder.sock"}).has_value(); });
    testing::wait_for_holder(folder_ / "holder.sock");
    imagefs_ = std::make_unique<Process>([this] { return serve(config_).has_value(); });
  }

  void kill_imagefs() { imagefs_->end(SIGKILL); }
  UniqueFd mount(const Digest& layer) const {
    return must(
        client().layer({.workspace = "acme", .digest = layer, .deadline = Deadline::after(mono_now(), seconds(30))}));
  }
  /// Of a tier. 0 when it was never counted.
  double metric(const std::string& name, const std::string& tier) const {
    const auto text = must(client().metrics(Deadline::after(mono_now(), seconds(5))));
    const std::string line = "\n" + name + "{tier=\"" + tier + "\"} ";
    const size_t at = text.find(line);
    return at == std::string::npos ? 0 : std::stod(text.substr(at + line.size()));
  }
  const fs::path& folder() const { return folder_; }

 private:
  ImagefsClient client() const { return ImagefsClient(config_.socket); }

  Config config_;
  fs::path folder_;
  std::unique_ptr<Process> holder_;
  std::unique_ptr<Process> imagefs_;
};

class PeerNodesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts";
    if (testing::lazy_erofs_is_possible()) {
      backend = "erofs";
    } else if (testing::lazy_fuse_is_possible()) {
      backend = "fuse";
    } else {
      GTEST_SKIP() << "this host has no lazy back end";
    }
    const auto store = must(blob::open_store((folder.path() / "store").string(), blob::IfMissing::create));
    fs::create_directories(folder.path() / "source");
    for (uint32_t i = 0; i < 16; ++i) {
      const size_t size = (i % 4 + 1) * 500'000 + i * 4'001;
      const std::string name = "file-" + std::to_string(i);
      contents[name] = i % 2 == 0 ? noise(size, i) : prose(size, i);
      must(write_file_atomic(folder.path() / "source" / name, contents[name]));
    }
    layer =
        must(image::build_layer_from_directory(store, image::StoreScope::workspace("acme"), folder.path() / "source"))
            .digest;
    must(write_file_atomic(folder.path() / "secret", "sixteen letters!\n", 0600));
    address = free_address();
  }

  Config config() const {
    Config config{.store = (folder.path() / "store").string(), .backend = backend};
    config.peer_secret = folder.path() / "secret";
    config.complete = Completion::off;  // what is read is what the test reads
    return config;
  }
  std::unique_ptr<Node> serving_node() const {
    Config its = config();
    its.peer_listen = address;
    return std::make_unique<Node>(std::move(its), folder.path() / "first");
  }
  std::unique_ptr<Node> asking_node() const {
    Config its = config();
    its.peers = {address};
    return std::make_unique<Node>(std::move(its), folder.path() / "second");
  }

  void expect_right(int mount, const std::string& name) const {
    const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
    std::string seen(contents.at(name).size() + 1, '\0');
    size_t size = 0;
    for (ssize_t got = 1; got > 0; size += static_cast<size_t>(got)) {
      got = ::read(file.get(), seen.data() + size, seen.size() - size);
      ASSERT_GE(got, 0) << name << ": " << std::strerror(errno);
    }
    seen.resize(size);
    EXPECT_TRUE(seen == contents.at(name)) << name << " has wrong bytes";
  }
  void expect_all_right(int mount) const {
    for (const auto& [name, bytes] : contents) expect_right(mount, name);
  }
  /// From here on the store has layers, and no content.
  void hide_packs() const { fs::rename(folder.path() / "store/ws/acme/packs", folder.path() / "store/ws/acme/hidden"); }

  /// A byte in the middle of each cached pack, behind its owner's back.
  static void flip_bytes(const fs::path& cache) {
    for (const auto& entry : fs::recursive_directory_iterator(cache)) {
      if (entry.path().extension() != ".data") continue;
      const UniqueFd fd = must(open_file(entry.path(), O_RDWR));
      const auto at = static_cast<off_t>(fs::file_size(entry.path()) / 2 / kPageBytes * kPageBytes + 17);
      char byte = 0;
      ASSERT_EQ(::pread(fd.get(), &byte, 1, at), 1);
      byte = static_cast<char>(byte ^ 0x40);
      ASSERT_EQ(::pwrite(fd.get(), &byte, 1, at), 1);
    }
  }

  TemporaryFolder folder{"/var/tmp"};  // a disk: tmpfs raises no events
  std::string backend;
  std::string address;
  Contents contents;
  Digest layer;
};

constexpr auto kReads = "hearth_imagefs_fetch_reads_total";

TEST_F(PeerNodesTest, AColdNodeReadsFromTheOneThatHasItAndNothingFromTheStore) {
  const auto first = serving_node();
  const UniqueFd its_mount = first->mount(layer);
  expect_all_right(its_mount.get());
  EXPECT_GT(first->metric(kReads, "store"), 0);
  hide_packs();
  const auto second = asking_node();
  const UniqueFd mount = second->mount(layer);
  expect_all_right(mount.get());
  EXPECT_GT(second->metric(kReads, "peer"), 0);
  EXPECT_EQ(second->metric(kReads, "store"), 0);
}

TEST_F(PeerNodesTest, APeerThatIsKilledInTheMiddleCostsReadersNoError) {
  const auto first = serving_node();
  const UniqueFd its_mount = first->mount(layer);
  expect_all_right(its_mount.get());
  const auto second = asking_node();
  const UniqueFd mount = second->mount(layer);
  size_t number = 0;
  for (const auto& [name, bytes] : contents) {
    if (++number == contents.size() / 2) first->kill_imagefs();
    expect_right(mount.get(), name);
  }
  EXPECT_GT(second->metric(kReads, "peer"), 0);
  EXPECT_GT(second->metric(kReads, "store"), 0);
}

TEST_F(PeerNodesTest, BytesThatChangedOnThePeersDiskNeverArrive) {
  const auto first = serving_node();
  {
    const UniqueFd its_mount = first->mount(layer);
    expect_all_right(its_mount.get());
  }
  flip_bytes(first->folder() / "imagefs");
  const auto second = asking_node();
  const UniqueFd mount = second->mount(layer);
  expect_all_right(mount.get());
  EXPECT_GT(second->metric("hearth_imagefs_corrupt_total", "peer"), 0);
  EXPECT_EQ(second->metric("hearth_imagefs_corrupt_total", "store"), 0);
}

TEST_F(PeerNodesTest, WithoutTheSecretANodeGetsNothing) {
  const auto first = serving_node();
  const UniqueFd its_mount = first->mount(layer);
  expect_all_right(its_mount.get());
  must(write_file_atomic(folder.path() / "secret", "another secret!!", 0600));
  const auto second = asking_node();
  const UniqueFd mount = second->mount(layer);
  expect_all_right(mount.get());
  EXPECT_EQ(second->metric(kReads, "peer"), 0);
}

}  // namespace
}  // namespace hearth::mount
