// Every corner case of OCI layers and random images, through every mount back end: the mount shows the tree it must
// become, entry by entry, with owners, times, links, xattrs, content and holes. What is unpacked lies in memory here,
// so that making it durable costs nothing; imagefs_test.cpp does it on a disk.
#include "base/file.hpp"
#include "image/testing/image_cases.hpp"
#include "image/testing/random_image.hpp"
#include "mount/testing/lazy_backends.hpp"
#include "mount/testing/mounted_tree.hpp"
#include "mount/testing/prefilled_erofs.hpp"
#include "mount/testing/test_store.hpp"
#include "mount/unpack_backend.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

namespace hearth::mount {

namespace {

using image::testing::ImageCase;
using testing::TestStore;

/// A back end to be compared. A new one only needs a line in candidates().
enum class Times { exact, of_the_disk };
struct Candidate {
  std::string name;  // letters and digits
  Times times;       // whether times are kept by the file system below, which may know fewer
  bool (*possible)();
  std::unique_ptr<LayerBackend> (*open)(const TestStore& store);
};

bool is_root() {
  return ::geteuid() == 0;
}

const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate> all{
      {"unpack", Times::of_the_disk, is_root,
       [](const TestStore& store) -> std::unique_ptr<LayerBackend> {
         return UnpackBackend::open(store.memory_folder() / "imagefs", store.store()).value();
       }},
      {"PrefilledErofs", Times::exact, testing::erofs_is_mountable,
       [](const TestStore& store) -> std::unique_ptr<LayerBackend> {
         return std::make_unique<testing::PrefilledErofs>(store.folder() / "imagefs", store.store());
       }},
      {"erofs", Times::exact, testing::lazy_erofs_is_possible,
       [](const TestStore& store) { return testing::open_lazy_erofs(store.folder() / "imagefs", store.store()); }},
      {"fuse", Times::exact, testing::lazy_fuse_is_possible,
       [](const TestStore& store) { return testing::open_lazy_fuse(store.folder() / "imagefs", store.store()); }},
  };
  return all;
}

/// The tree with the times that the file system of a folder can keep.
image::testing::TreeSpec as_kept_in(const std::filesystem::path& folder, image::testing::TreeSpec tree) {
  const auto path = folder / "time";
  const auto file = open_file(path, O_WRONLY | O_CREAT, 0600).value();
  for (auto& [name, node] : tree) {
    const timespec time{.tv_sec = node.mtime.seconds, .tv_nsec = static_cast<long>(node.mtime.nanoseconds)};
    const timespec times[2] = {time, time};
    struct stat kept{};
    if (::futimens(file.get(), times) != 0 || ::fstat(file.get(), &kept) != 0) throw std::runtime_error("set a time");
    node.mtime = {kept.st_mtim.tv_sec, static_cast<uint32_t>(kept.st_mtim.tv_nsec)};
  }
  return tree;
}

std::string difference(const Candidate& candidate, const TestStore& store, const Digest& layer,
                       const image::testing::TreeSpec& expected) {
  const auto backend = candidate.open(store);
  const auto mount =
      backend->mount_layer({.workspace = TestStore::kWorkspace, .digest = layer}, [](const LayerProgress&) {});
  if (!mount) return mount.error().message;
  auto shown = testing::as_mounted(expected);
  if (candidate.times == Times::of_the_disk) shown = as_kept_in(store.memory_folder(), std::move(shown));
  const auto text = testing::difference_of_mount(shown, mount->get());
  return text ? *text : text.error().message;
}

const std::vector<ImageCase>& cases() {
  static const std::vector<ImageCase> all = [] {
    auto every = image::testing::all_image_cases();
    std::erase_if(every, [](const ImageCase& image) { return !image.refused.empty(); });
    return every;
  }();
  return all;
}

using Pair = std::tuple<size_t, size_t>;  // candidate, case

class BackendShowsCase : public ::testing::TestWithParam<Pair> {};

TEST_P(BackendShowsCase, AsTheTreeItMustBecome) {
  const auto& candidate = candidates()[std::get<0>(GetParam())];
  if (!candidate.possible()) GTEST_SKIP() << candidate.name << " cannot mount here";
  const ImageCase& image = cases()[std::get<1>(GetParam())];
  TestStore store;
  EXPECT_EQ(difference(candidate, store, store.import_image(image.layers), image.expected), "");
}

INSTANTIATE_TEST_SUITE_P(Cases, BackendShowsCase,
                         ::testing::Combine(::testing::Range(size_t{0}, candidates().size()),
                                            ::testing::Range(size_t{0}, cases().size())),
                         [](const auto& param) {
                           return candidates()[std::get<0>(param.param)].name + "_" +
                                  cases()[std::get<1>(param.param)].name;
                         });

class BackendShowsRandomImage : public ::testing::TestWithParam<std::tuple<size_t, uint32_t>> {};

TEST_P(BackendShowsRandomImage, AsTheTreeOfTheModel) {
  const auto& candidate = candidates()[std::get<0>(GetParam())];
  if (!candidate.possible()) GTEST_SKIP() << candidate.name << " cannot mount here";
  const uint32_t seed = std::get<1>(GetParam());
  const image::testing::RandomImage image(seed, 1 + static_cast<int>(seed % 5), 40);
  TestStore store;
  EXPECT_EQ(difference(candidate, store, store.import_image(image.layers()), image.expected()), "") << "seed " << seed;
}

INSTANTIATE_TEST_SUITE_P(Seeds, BackendShowsRandomImage,
                         ::testing::Combine(::testing::Range(size_t{0}, candidates().size()),
                                            ::testing::Range(1U, 21U)),
                         [](const auto& param) {
                           return candidates()[std::get<0>(param.param)].name + "_" +
                                  std::to_string(std::get<1>(param.param));
                         });

}  // namespace

}  // namespace hearth::mount
