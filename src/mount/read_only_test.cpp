// What POSIX promises of a file system that nobody can change, asked of every mount back end: one table of questions,
// each with the one answer that all of them must give. Runs on real mounts, as root and as somebody else.
#include "base/file.hpp"
#include "image/layer_builder.hpp"
#include "mount/testing/attached_mount.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/lazy_backends.hpp"
#include "mount/testing/posix_rows.hpp"
#include "mount/testing/test_store.hpp"
#include "mount/unpack_backend.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using testing::must;
using testing::PosixRow;
using testing::TestStore;

struct Candidate {
  std::string name;
  bool (*possible)();
  std::unique_ptr<LayerBackend> (*open)(const TestStore& store);
};

const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate> all{
      {"unpack", [] { return ::geteuid() == 0; },
       [](const TestStore& store) -> std::unique_ptr<LayerBackend> {
         return must(UnpackBackend::open(store.folder() / "imagefs", store.store()));
       }},
      {"erofs", testing::lazy_erofs_is_possible,
       [](const TestStore& store) { return testing::open_lazy_erofs(store.folder() / "imagefs", store.store()); }},
      {"fuse", testing::lazy_fuse_is_possible,
       [](const TestStore& store) { return testing::open_lazy_fuse(store.folder() / "imagefs", store.store()); }},
  };
  return all;
}

void check(int result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

void make_file(const fs::path& path, const std::string& bytes, mode_t mode = 0644) {
  const UniqueFd file = must(open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  must(write_all(file.get(), bytes, path.string()));
  check(::chmod(path.c_str(), mode), "chmod");
}

void make_special_files(const fs::path& at) {
  check(::mkfifo((at / "fifo").c_str(), 0666), "mkfifo");
  check(::mknod((at / "socket").c_str(), S_IFSOCK | 0666, 0), "mknod");
  check(::mknod((at / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)), "mknod");
  check(::chmod((at / "null").c_str(), 0666), "chmod");
}

void make_links(const fs::path& at) {
  fs::create_symlink("file", at / "link");
  fs::create_symlink("nowhere", at / "dangling");
  fs::create_symlink("loop", at / "loop");
  fs::create_symlink("loop-b", at / "loop-a");
  fs::create_symlink("loop-a", at / "loop-b");
  fs::create_symlink("dir", at / "dirlink");
  fs::create_symlink(std::string(testing::kLongTarget, 'x'), at / "long-link");
  make_file(at / "hard-1", "one inode, two names\n");
  fs::create_hard_link(at / "hard-1", at / "hard-2");
}

/// What the rows of posix_rows.cpp ask about.
void make_tree(const fs::path& at) {
  fs::create_directories(at / "dir/sub");
  fs::create_directories(at / "many");
  make_file(at / "file", testing::file_content());
  make_file(at / "empty", "");
  make_file(at / "script", "#!/bin/sh\nexit 7\n", 0755);
  make_file(at / "secret", "for root\n", 0600);
  make_file(at / "setuid", "", 04755);
  make_file(at / "dir/inner", "inner\n");
  make_file(at / std::string(testing::kNameMax, 'n'), "the longest name\n");
  for (int i = 0; i < testing::kManyNames; ++i) make_file(at / "many" / ("entry-" + std::to_string(i)), "");
  fs::create_directories(at / "closed");
  make_file(at / "closed/inside", "");
  check(::chmod((at / "closed").c_str(), 0700), "chmod");
  fs::create_directories(at / "no-search");
  make_file(at / "no-search/inside", "");
  check(::chmod((at / "no-search").c_str(), 0744), "chmod");
  fs::create_directories(at / "sticky");
  check(::chmod((at / "sticky").c_str(), 01777), "chmod");
  const UniqueFd sparse = must(open_file(at / "sparse", O_RDWR | O_CREAT, 0644));
  check(::ftruncate(sparse.get(), testing::kSparseBytes), "ftruncate");
  for (const off_t data : {off_t{0}, testing::kSparseData}) {
    check(::pwrite(sparse.get(), testing::noise(4096, 5).data(), 4096, data) == 4096 ? 0 : -1, "pwrite");
  }
  make_special_files(at);
  make_links(at);
  check(::setxattr((at / "file").c_str(), "user.color", "blue", 4, 0), "setxattr");
  check(::setxattr((at / "file").c_str(), "user.nothing", "", 0, 0), "setxattr");
  check(::setxattr((at / "file").c_str(), "trusted.key", "hidden", 6, 0), "setxattr");
  check(::chown((at / "hard-1").c_str(), 1234, 4321), "chown");
  const timespec times[2] = {{.tv_sec = 86'400, .tv_nsec = 0}, {.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}};
  check(::utimensat(AT_FDCWD, (at / "file").c_str(), times, 0), "utimensat");
}

class ReadOnly : public ::testing::TestWithParam<size_t> {};

TEST_P(ReadOnly, AnswersEveryQuestionAsTheTableSays) {
  const Candidate& candidate = candidates()[GetParam()];
  if (!candidate.possible()) GTEST_SKIP() << candidate.name << " cannot mount here";
  TestStore store;
  const testing::TemporaryFolder source("/var/tmp");
  make_tree(source.path());
  const auto scope = image::StoreScope::workspace(TestStore::kWorkspace);
  const auto layer = must(image::build_layer_from_directory(store.store(), scope, source.path()));
  const auto backend = candidate.open(store);
  const auto mount = must(
      backend->mount_layer({.workspace = TestStore::kWorkspace, .digest = layer.digest}, [](const LayerProgress&) {}));
  const testing::AttachedMount attached(mount.get());
  ASSERT_GE(testing::posix_rows().size(), 100U);
  for (const PosixRow& row : testing::posix_rows()) EXPECT_EQ(row.ask(attached.path()), row.answer) << row.question;
}

INSTANTIATE_TEST_SUITE_P(BackEnds, ReadOnly, ::testing::Range(size_t{0}, candidates().size()),
                         [](const auto& param) { return candidates()[param.param].name; });

}  // namespace

}  // namespace hearth::mount
