// Whole images: how one is chosen, what is verified, what is refused and that nothing is left behind then.
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "blob/intent.hpp"
#include "image/import.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"
#include "image/testing/tree_spec.hpp"
#include "oci/image_archive.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace hearth::image {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TarWriter;

class ArchiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = std::filesystem::temp_directory_path() / ("hearth-archive-" + random_id());
    std::filesystem::create_directories(base_ / "store");
    store_ = blob::open_store((base_ / "store").string()).value();
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  std::filesystem::path layout() const { return base_ / "layout"; }
  void write(const std::filesystem::path& path, std::string_view bytes) const {
    std::filesystem::create_directories((base_ / path).parent_path());
    std::ofstream(base_ / path, std::ios::binary) << bytes;
  }
  std::string read(const std::filesystem::path& path) const {
    std::ifstream file(base_ / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Result<ImageRecord> import(const std::string& tag = "", const ImportOptions& options = {}) const {
    return import_image(store_, StoreScope::workspace("w"), {.path = layout(), .tag = tag}, options);
  }
  Result<ImageRecord> import_archive(const std::string& tag = "") const {
    return import_image(store_, StoreScope::workspace("w"),
                        {.kind = SourceKind::docker_archive, .path = base_ / "image.tar", .tag = tag});
  }
  testing::TreeSpec tree(const ImageRecord& record) const {
    return testing::read_tree(LayerReader::open(store_, "w", record.layer.digest).value()).value();
  }
  void expect_refused(const Result<ImageRecord>& result, ErrorCode code, const std::string& why) const {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(why));
    EXPECT_THAT(store_->list("ws/w/layers/").value(), ElementsAre()) << "nothing may be left behind";
  }

  std::filesystem::path base_;
  std::shared_ptr<blob::ObjectStore> store_;
  const std::string one_ = testing::gzip(TarWriter().file("one", "1").finish());
  const std::string two_ = testing::gzip(TarWriter().file("two", "2").finish());
};

TEST_F(ArchiveTest, TheConfigOfTheImageIsKept) {
  testing::write_layout(layout(), {.layers = {one_, two_}});
  const auto record = import().value();
  EXPECT_THAT(record.env, ElementsAre("PATH=/usr/bin", "LANG=C"));
  EXPECT_EQ(record.user, "app");
  EXPECT_EQ(record.working_dir, "/work");
  EXPECT_THAT(record.entrypoint, ElementsAre("/bin/run"));
  EXPECT_THAT(record.command, ElementsAre("x"));
  EXPECT_EQ(record.source_layers, 2u);
  EXPECT_EQ(record.source, "oci:" + layout().string());

  const auto again = parse_image_record(to_json(record)).value();
  EXPECT_EQ(to_json(again), to_json(record));
  EXPECT_EQ(again.layer.digest, record.layer.digest);
}

TEST_F(ArchiveTest, ImagesAreChosenByTag) {
  testing::write_layout(layout(), {.layers = {one_}, .tag = "a"});
  testing::write_layout(layout(), {.layers = {two_}, .tag = "b"});
  EXPECT_TRUE(tree(import("a").value()).contains("one"));
  EXPECT_TRUE(tree(import("b").value()).contains("two"));
  std::filesystem::remove_all(base_ / "store/ws");
  expect_refused(import(), ErrorCode::invalid_argument, "holds several images; name one by its tag: 'a'");
  const auto none = import("c");
  expect_refused(none, ErrorCode::invalid_argument, "no image tagged 'c'");
  EXPECT_THAT(none.error().message, AllOf(HasSubstr("'a'"), HasSubstr("'b'")));
}

TEST_F(ArchiveTest, ImagesAreChosenByThisMachinesArchitecture) {
  testing::write_layout(layout(), {.layers = {two_}, .tag = "t", .architecture = "s390x"});
  expect_refused(import(), ErrorCode::invalid_argument, "has nothing for linux/");
  EXPECT_THAT(import().error().message, HasSubstr("linux/s390x"));
  testing::write_layout(layout(),
                        {.layers = {one_}, .tag = "t", .architecture = std::string(oci::machine_architecture())});
  EXPECT_TRUE(tree(import("t").value()).contains("one"));
}

TEST_F(ArchiveTest, AnArchitectureThatOnlyTheConfigTellsIsNoticed) {
  testing::write_layout(layout(), {.layers = {one_}, .architecture = "riscv64"});
  std::string index = read("layout/index.json");
  const size_t platform = index.find("\"platform\"");
  index.replace(platform, 10, "\"ignored_\"");
  write("layout/index.json", index);
  expect_refused(import(), ErrorCode::invalid_argument, "image for linux/riscv64, this machine");
}

TEST_F(ArchiveTest, NestedIndexesAreFollowedAndAttestationsPassedOver) {
  testing::write_layout(layout(),
                        {.layers = {one_}, .tag = "x", .architecture = std::string(oci::machine_architecture())});
  std::string inner = read("layout/index.json");
  // As buildx writes it: an attestation beside the image.
  inner.insert(inner.find('[') + 1,
               R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"sha256:)" +
                   std::string(64, '0') + R"(","platform":{"os":"unknown","architecture":"unknown"}},)");
  const std::string hex = testing::write_blob(layout(), inner);
  write("layout/index.json",
        R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:)" +
            hex + R"(","size":)" + std::to_string(inner.size()) +
            R"(,"annotations":{"org.opencontainers.image.ref.name":"multi"}}]})");
  EXPECT_TRUE(tree(import("multi").value()).contains("one"));
  EXPECT_TRUE(import());
}

TEST_F(ArchiveTest, ADamagedLayerIsRefused) {
  testing::write_layout(layout(), {.layers = {one_}});
  const std::string path = "layout/blobs/sha256/" + Digest::of(one_).hex();
  write(path, testing::gzip(TarWriter().file("one", "!").finish()));
  expect_refused(import(), ErrorCode::corrupt, "does not match its digest");
  write(path, one_ + "x");
  expect_refused(import(), ErrorCode::corrupt, "its descriptor says");
  std::filesystem::remove(base_ / path);
  expect_refused(import(), ErrorCode::corrupt, "is missing");
}

TEST_F(ArchiveTest, AWrongDiffIdIsRefused) {
  testing::write_layout(layout(), {.layers = {one_}, .plain = {"something else"}});
  expect_refused(import(), ErrorCode::corrupt, "diff_id");
  const std::string plain = TarWriter().file("one", "1").finish();
  std::filesystem::remove_all(layout());
  testing::write_layout(layout(), {.layers = {plain}, .plain = {"something else"}});
  expect_refused(import(), ErrorCode::corrupt, "diff_id");
}

TEST_F(ArchiveTest, AWrongNumberOfDiffIdsIsRefused) {
  const std::string config = R"({"architecture":")" + std::string(oci::machine_architecture()) +
                             R"(","os":"linux","rootfs":{"type":"layers","diff_ids":[]}})";
  const std::string config_hex = testing::write_blob(layout(), config);
  testing::write_blob(layout(), one_);
  const std::string manifest =
      R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:)" +
      config_hex + R"(","size":)" + std::to_string(config.size()) +
      R"(},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":")" +
      Digest::of(one_).to_string() + R"(","size":)" + std::to_string(one_.size()) + "}]}";
  const std::string hex = testing::write_blob(layout(), manifest);
  write("layout/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  write("layout/index.json",
        R"({"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:)" + hex +
            R"(","size":)" + std::to_string(manifest.size()) + "}]}");
  expect_refused(import(), ErrorCode::corrupt, "the manifest has 1 layers, the config 0 diff_ids");
}

TEST_F(ArchiveTest, OnlyRegularFilesAreBlobs) {
  testing::write_layout(layout(), {.layers = {one_}});
  const auto path = layout() / "blobs/sha256" / Digest::of(one_).hex();
  std::filesystem::rename(path, base_ / "elsewhere");
  std::filesystem::create_symlink(base_ / "elsewhere", path);
  expect_refused(import(), ErrorCode::corrupt, "is a symlink");
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  expect_refused(import(), ErrorCode::corrupt, "no regular file");
  std::filesystem::remove(path);
  std::filesystem::rename(base_ / "elsewhere", path);
  std::filesystem::rename(layout() / "blobs", base_ / "real");
  std::filesystem::create_directory_symlink(base_ / "real", layout() / "blobs");
  expect_refused(import(), ErrorCode::corrupt, "is a symlink");
}

TEST_F(ArchiveTest, WhatIsNoImageIsRefusedWithWhatItIs) {
  expect_refused(import(), ErrorCode::not_found, "layout");
  std::filesystem::create_directories(layout());
  expect_refused(import(), ErrorCode::invalid_argument, "it has no file 'oci-layout'");
  write("layout/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  write("layout/index.json", "[]");
  expect_refused(import(), ErrorCode::corrupt, "no JSON object");
  write("layout/index.json", R"({"manifests":[]})");
  expect_refused(import(), ErrorCode::invalid_argument, "holds no image");
  write("layout/index.json", R"({"manifests":[{"mediaType":"x","digest":"sha512:ab","size":1}]})");
  expect_refused(import(), ErrorCode::invalid_argument, "only sha256");
  write("layout/index.json", R"({"manifests":[{"mediaType":"application/vnd.example","digest":"sha256:)" +
                                 std::string(64, 'a') + R"(","size":1}]})");
  expect_refused(import(), ErrorCode::invalid_argument, "of kind 'application/vnd.example'");
  std::filesystem::remove_all(layout());
  testing::write_layout(layout(),
                        {.layers = {one_}, .layer_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"});
  expect_refused(import(), ErrorCode::invalid_argument, "layers of unknown kinds: application/vnd.cncf.helm");
}

TEST_F(ArchiveTest, BombsAreStoppedByTheLimits) {
  TarWriter many;
  for (int i = 0; i < 100; ++i) many.file(std::to_string(i), "");
  testing::write_layout(layout(), {.layers = {testing::gzip(many.finish())}});
  expect_refused(import("", {.limits = {.entries = 50}}), ErrorCode::exhausted, "more entries than the limit of 50");
  expect_refused(import("", {.limits = {.unpacked_bytes = 20'000}}), ErrorCode::exhausted,
                 "unpacks to more than the limit");
  expect_refused(import("", {.limits = {.layers = 0}}), ErrorCode::exhausted, "more layers than the limit");
}

TEST_F(ArchiveTest, ACancelledImportLeavesNothing) {
  testing::write_layout(layout(), {.layers = {one_}});
  std::stop_source stop;
  stop.request_stop();
  expect_refused(import("", {.stop = stop.get_token()}), ErrorCode::cancelled, "cancelled");
}

TEST_F(ArchiveTest, AFullStoreSaysSoAndHasNoLayer) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
  std::string noise(3 << 20, '\0');
  uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24u);
  testing::write_layout(layout(), {.layers = {TarWriter().file("noise", noise).finish()}});
  const auto small = base_ / "small";
  std::filesystem::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "no tmpfs here";
  {
    const auto store = blob::open_store(small.string()).value();
    const auto result = import_image(store, StoreScope::workspace("w"), {.path = layout()});
    EXPECT_EQ(result.error().code, ErrorCode::exhausted);
    EXPECT_THAT(result.error().message, HasSubstr("free space"));
    EXPECT_THAT(store->list("").value(), ElementsAre());
  }
  ::umount(small.c_str());
}

TEST_F(ArchiveTest, AStoreThatIsGoneIsUnavailable) {
  testing::write_layout(layout(), {.layers = {one_}});
  std::filesystem::remove_all(base_ / "store");
  EXPECT_EQ(import().error().code, ErrorCode::unavailable);
}

TEST_F(ArchiveTest, DockerArchivesAreReadPlainAndCompressed) {
  const std::string plain_one = TarWriter().file("one", "1").finish();
  const std::string plain_two = TarWriter().file("two", "2").finish();
  const std::string archive = testing::make_docker_archive({.layers = {plain_one, plain_two, plain_one}, .tag = "1.0"});
  write("image.tar", archive);
  const auto record = import_archive().value();
  EXPECT_EQ(tree(record).size(), 3u);
  EXPECT_THAT(record.env, ElementsAre("PATH=/usr/bin", "LANG=C"));
  EXPECT_TRUE(import_archive("app:1.0"));
  EXPECT_TRUE(import_archive("1.0"));
  EXPECT_THAT(import_archive("2.0").error().message, HasSubstr("there is: 'app:1.0'"));
  write("image.tar", testing::gzip(archive));
  EXPECT_EQ(import_archive().value().layer.digest, record.layer.digest);
}

TEST_F(ArchiveTest, ADockerArchiveIsKnownByItsConfigAlone) {
  const std::string archive =
      testing::make_docker_archive({.layers = {TarWriter().file("one", "content one").finish()}});
  write("image.tar", archive);
  const auto digest = oci::docker_archive_digest(base_ / "image.tar", "").value();
  ASSERT_TRUE(digest);
  const auto intent = blob::Intent::begin(store_, {.workspace = "w", .owner = "test"}).value();
  const auto import_known = [this, &digest, &intent] {
    return import_image(store_, StoreScope::workspace("w"), {.kind = SourceKind::docker_archive, .known = digest},
                        {.intent = intent});
  };
  expect_refused(import_known(), ErrorCode::not_found, "not imported before");
  const auto record =
      import_image(store_, StoreScope::workspace("w"),
                   {.kind = SourceKind::docker_archive, .path = base_ / "image.tar"}, {.intent = intent});
  EXPECT_EQ(record.value().manifest, *digest);
  EXPECT_EQ(import_known().value().layer.digest, record->layer.digest);
  const auto elsewhere = import_image(store_, StoreScope::workspace("other"),
                                      {.kind = SourceKind::docker_archive, .known = digest}, {.intent = intent});
  EXPECT_EQ(elsewhere.error().code, ErrorCode::not_found);
}

TEST_F(ArchiveTest, TheDigestOfADockerArchiveNeedsNoLayer) {
  std::string archive = testing::make_docker_archive({.layers = {TarWriter().file("one", "content one").finish()}});
  write("image.tar", archive);
  const auto digest = oci::docker_archive_digest(base_ / "image.tar", "").value();
  archive[archive.find("content one")] = 'C';
  write("image.tar", archive);
  EXPECT_EQ(oci::docker_archive_digest(base_ / "image.tar", "").value(), digest);
  write("image.tar", testing::gzip(archive));
  EXPECT_EQ(oci::docker_archive_digest(base_ / "image.tar", "").value(), std::nullopt) << "it would have to be read";
  write("image.tar", std::string_view(archive).substr(0, archive.find("Content one")));
  EXPECT_EQ(oci::docker_archive_digest(base_ / "image.tar", "").error().code, ErrorCode::corrupt);
}

TEST_F(ArchiveTest, DamagedDockerArchivesAreRefused) {
  write("image.tar", TarWriter().file("x", "y").finish());
  expect_refused(import_archive(), ErrorCode::invalid_argument, "no manifest.json");
  write("image.tar", "not a tar at all");
  expect_refused(import_archive(), ErrorCode::corrupt, "no `docker save` archive");
  std::string archive = testing::make_docker_archive({.layers = {TarWriter().file("one", "1").finish()}});
  archive[archive.find("PATH=/usr/bin")] = 'Q';
  write("image.tar", archive);
  expect_refused(import_archive(), ErrorCode::corrupt, "config does not match its digest");
  archive = testing::make_docker_archive({.layers = {TarWriter().file("one", "content one").finish()}});
  archive[archive.find("content one")] = 'C';
  write("image.tar", archive);
  expect_refused(import_archive(), ErrorCode::corrupt, "diff_id");
}

TEST_F(ArchiveTest, SourcesAreReadAsTheyAreWritten) {
  const auto oci = parse_import_source("oci:/a/b:tag").value();
  EXPECT_EQ(oci.path, "/a/b");
  EXPECT_EQ(oci.tag, "tag");
  EXPECT_EQ(parse_import_source("oci:dir").value().path, "dir");
  EXPECT_EQ(parse_import_source("oci:/a:b/c").value().path, "/a:b/c");
  EXPECT_EQ(parse_import_source("docker://debian:12").value().reference, "debian:12");
  write("image.tar", "x");
  const auto archive =
      parse_import_source("docker-archive:" + (base_ / "image.tar").string() + ":library/app:1").value();
  EXPECT_EQ(archive.path, base_ / "image.tar");
  EXPECT_EQ(archive.tag, "library/app:1");
  for (const char* bad : {"", "debian", "oci:", "docker://", "http://x"}) {
    EXPECT_EQ(parse_import_source(bad).error().code, ErrorCode::invalid_argument) << bad;
  }
  for (const char* text : {"oci:/a/b:tag", "docker://debian:12", "oci:dir"})
    EXPECT_EQ(to_string(parse_import_source(text).value()), text);
}

TEST_F(ArchiveTest, RegistryReferencesHoldNoCredentialsAndNoOptions) {
  for (const char* bad : {"user:secret@registry/app", "--help", "a b", "$(id)"}) {
    const auto result = import_image(store_, StoreScope::shared(), {.kind = SourceKind::registry, .reference = bad});
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument) << bad;
    EXPECT_EQ(result.error().message.find("secret"), std::string::npos);
  }
  const auto gone =
      import_image(store_, StoreScope::shared(), {.kind = SourceKind::registry, .reference = "127.0.0.1:1/app:1"});
  EXPECT_EQ(gone.error().code, ErrorCode::unavailable) << gone.error().message;
}

/// What real tar programs write, in each of their formats.
class RealTarTest : public ArchiveTest, public ::testing::WithParamInterface<std::vector<std::string>> {};

TEST_P(RealTarTest, ADirectoryComesBackAsItWas) {
  const auto tar = find_program("tar");
  if (!tar || ::geteuid() != 0) GTEST_SKIP() << "needs tar and root";
  write("tree/a/short", "content");
  write("tree/" + std::string(90, 'l') + "/" + std::string(90, 'm') + "/" + std::string(200, 'n'), "deep");
  write("tree/b", std::string(5'000'000, 'b'));
  const auto root = base_ / "tree";
  {
    const int fd = ::open((root / "sparse").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (off_t i = 1; i < 40; ++i) ASSERT_EQ(::pwrite(fd, "data", 4, i * 262'144), 4);
    ASSERT_EQ(::ftruncate(fd, 20'000'000), 0);
    ::close(fd);
  }
  std::filesystem::create_symlink(std::string(150, 't'), root / "link");
  std::filesystem::create_hard_link(root / "b", root / "a/hard");
  ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0644), 0);
  ASSERT_EQ(::lchown((root / "a/short").c_str(), 3'000'000, 70'000), 0);
  const bool posix = std::ranges::find(GetParam(), "--format=posix") != GetParam().end();
  const timespec times[2] = {{1, 0}, {1'600'000'000, posix ? 123'456'789 : 0}};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    ::utimensat(AT_FDCWD, entry.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
  ::utimensat(AT_FDCWD, root.c_str(), times, 0);

  std::vector<std::string> args{*tar, "-C", root.string(), "-cf", (base_ / "layer.tar").string()};
  args.insert(args.end(), GetParam().begin(), GetParam().end());
  args.emplace_back(".");
  const auto done = run_process({.args = args}).value();
  ASSERT_EQ(done.code, 0) << done.output;
  testing::write_layout(layout(), {.layers = {testing::zstd(read("layer.tar"))}});
  const auto record = import();
  ASSERT_TRUE(record) << record.error().message;
  const bool sparse = std::ranges::find(GetParam(), "--sparse") != GetParam().end();
  auto expected = testing::read_tree(root, sparse ? testing::Holes::compare : testing::Holes::ignore).value();
  EXPECT_EQ(testing::difference(expected, tree(*record)), "");
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RealTarTest,
    ::testing::Values(std::vector<std::string>{"--format=gnu"}, std::vector<std::string>{"--format=gnu", "--sparse"},
                      std::vector<std::string>{"--format=posix", "--xattrs"},
                      std::vector<std::string>{"--format=posix", "--sparse", "--sparse-version=0.0"},
                      std::vector<std::string>{"--format=posix", "--sparse", "--sparse-version=0.1"},
                      std::vector<std::string>{"--format=posix", "--sparse", "--sparse-version=1.0"}));

}  // namespace
}  // namespace hearth::image
