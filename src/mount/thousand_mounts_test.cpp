// A node with a thousand layers mounted by the kernel back end: each of its own, none of them complete, so that every
// descriptor there is to be kept is kept. What it costs is printed and recorded as test properties.
#include "base/file.hpp"
#include "holder/client.hpp"
#include "holder/descriptor_budget.hpp"
#include "holder/server.hpp"
#include "mount/imagefs.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/lazy_backends.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using Process = testing::ChildProcess;
using testing::must;

constexpr uint32_t kLayers = 1'000;
constexpr uint32_t kAskers = 4;
/// Of imagefs, for a layer of one pack: index, pack, presence map and mount. Mounts of real images have larger indexes.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr uint64_t kMemoryPerLayerMax = uint64_t{1} << 20;  // with a sanitizer's own bookkeeping
#else
constexpr uint64_t kMemoryPerLayerMax = uint64_t{64} << 10;
#endif
constexpr uint64_t kDescriptorsPerLayerMax = 4;  // data and presence file, mount, and one to spare

std::string content_of(uint32_t number) {
  return testing::noise(6'000 + number, number);
}

uint64_t resident_bytes(pid_t pid) {
  const auto status = must(read_file("/proc/" + std::to_string(pid) + "/status"));
  const std::string key = "VmRSS:";
  size_t at = status.find(key) + key.size();
  while (status[at] == ' ' || status[at] == '\t') ++at;
  uint64_t kib = 0;
  std::from_chars(status.data() + at, status.data() + status.size(), kib);
  return kib * 1024;
}

uint64_t descriptors_of(pid_t pid) {
  const fs::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<uint64_t>(std::distance(begin(all), end(all)));
}

class ThousandMounts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::lazy_erofs_is_possible()) GTEST_SKIP() << "this host cannot mount so";
    if (holder::raise_descriptor_limit() < 2 * 3 * kLayers) GTEST_SKIP() << "too few descriptors for so many layers";
    for (uint32_t i = 0; i < kLayers; ++i) {
      digests.push_back(layers.build({{"file", content_of(i)}})->digest());
    }
  }
  Process start_holder() const {
    Process process([this] { return holder::serve({.socket = socket("holder")}).has_value(); });
    testing::wait_for_holder(socket("holder"));
    return process;
  }
  Process start_imagefs() {
    return Process([this] {
      return serve({.socket = socket("imagefs"),
                    .dir = folder.path() / "imagefs",
                    .holder = socket("holder"),
                    .store = layers.object("").string(),
                    .backend = "erofs"})
          .has_value();
    });
  }
  fs::path socket(const std::string& name) const { return folder.path() / (name + ".sock"); }

  UniqueFd mounted(uint32_t number) const {
    return must(ImagefsClient(socket("imagefs"))
                    .layer({.workspace = "acme",
                            .digest = digests[number],
                            .deadline = Deadline::after(mono_now(), seconds(60))}));
  }
  /// All that are not mounted yet up to a number, asked for by several at once.
  void mount_up_to(uint32_t count) {
    const auto from = static_cast<uint32_t>(mounts.size());
    mounts.resize(count);
    std::vector<std::future<void>> askers;
    for (uint32_t asker = 0; asker < kAskers; ++asker) {
      askers.push_back(std::async(std::launch::async, [this, from, count, asker] {
        for (uint32_t i = from + asker; i < count; i += kAskers) mounts[i] = mounted(i);
      }));
    }
    for (auto& asker : askers) asker.get();
  }
  bool reads_right(uint32_t number) const {
    const UniqueFd file(::openat(mounts[number].get(), "file", O_RDONLY | O_CLOEXEC));
    const std::string expected = content_of(number);
    std::string bytes(expected.size() + 1, '\0');
    const ssize_t size = ::read(file.get(), bytes.data(), bytes.size());
    return size == static_cast<ssize_t>(expected.size()) && bytes.starts_with(expected);
  }
  std::map<std::string, uint64_t> holder_counts() const { return must(holder::Client(socket("holder")).counts()); }

  testing::TemporaryFolder folder{"/var/tmp"};  // a disk: tmpfs raises no events
  testing::LayerStore layers;
  std::vector<Digest> digests;
  std::vector<UniqueFd> mounts;
};

TEST_F(ThousandMounts, FitTheHostsDescriptorsAndLittleMemoryAndOutliveImagefs) {
  const Process holder = start_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  mount_up_to(10);
  const uint64_t memory_before = resident_bytes(imagefs->pid());
  const uint64_t descriptors_before = descriptors_of(imagefs->pid());
  mount_up_to(kLayers);

  const uint64_t memory = (resident_bytes(imagefs->pid()) - memory_before) / (kLayers - 10);
  const uint64_t descriptors = descriptors_of(imagefs->pid()) - descriptors_before;
  auto counts = holder_counts();
  std::cout << "a mounted layer of one pack: " << memory << " bytes of imagefs, " << descriptors * 100 / (kLayers - 10)
            << "/100 descriptors of imagefs; the holder has " << counts["descriptors"] << " of "
            << counts["descriptors_max"] << " for " << kLayers << "\n";
  RecordProperty("imagefs_bytes_per_layer", static_cast<int>(memory));
  EXPECT_LE(memory, kMemoryPerLayerMax);
  EXPECT_LE(descriptors, kDescriptorsPerLayerMax * kLayers);
  EXPECT_EQ(counts["tracked"], kLayers) << "none is complete";
  EXPECT_GE(counts["kept"], 3 * kLayers);
  EXPECT_LE(counts["descriptors"], counts["descriptors_max"]);
  EXPECT_LE(counts["kept"], counts["kept_max"]);

  for (uint32_t i = 0; i < kLayers; i += 2) ASSERT_TRUE(reads_right(i)) << i;
  imagefs->end(SIGKILL);
  imagefs = std::make_unique<Process>(start_imagefs());
  for (uint32_t i = 0; i < kLayers; ++i) ASSERT_TRUE(reads_right(i)) << i << ", by the next imagefs";
}

}  // namespace

}  // namespace hearth::mount
