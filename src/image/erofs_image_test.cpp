#include "image/erofs_image.hpp"

#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "image/erofs_format.hpp"
#include "image/erofs_layout.hpp"
#include "image/erofs_superblock.hpp"
#include "image/erofs_xattrs.hpp"
#include "image/layer_encoder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

namespace hearth::image {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

LayerIndex index_of(const FileTree& tree, const ChunkTable& chunks = {}) {
  return LayerIndex::decode(encode_layer(tree, chunks).value().bytes).value();
}

/// One file at "f", its extents given, each of a chunk of its own in one pack.
LayerIndex file_with_extents(uint64_t size, const std::vector<std::pair<uint64_t, uint32_t>>& extents) {
  FileTree tree;
  ChunkTable chunks;
  FileTree::Inode file{.size = size};
  uint64_t plain = 0;
  for (const auto& [offset, length] : extents) {
    const auto ticket = static_cast<uint32_t>(chunks.chunks.size());
    file.extents.push_back({offset, length, ticket});
    chunks.of_ticket.push_back(ticket);
    chunks.chunks.push_back({Digest::of(std::to_string(offset)), length});
    for (uint32_t i = 0; length > kBlockBytes && i < blocks_of(length); ++i) chunks.blocks.push_back({});
    chunks.locations.push_back({.plain_offset = plain, .stored_length = length});
    chunks.locations.back().offset = plain;
    plain += round_up_to_page(length);
  }
  if (plain > 0) chunks.packs.push_back({Digest::of("pack"), plain, plain});
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  return index_of(tree, chunks);
}

FileTree::Inode with_xattrs(std::vector<Xattr> xattrs) {
  FileTree::Inode file;
  file.attributes.xattrs = std::move(xattrs);
  return file;
}

LayerIndex file_with_xattrs(std::vector<Xattr> xattrs) {
  FileTree tree;
  tree.link(kRootInode, "f", tree.add(with_xattrs(std::move(xattrs))));
  return index_of(tree);
}

Result<std::string> image_of(const LayerIndex& index) {
  const UniqueFd file(::memfd_create("erofs", MFD_CLOEXEC));
  TRY(const uint64_t size, write_erofs(index, file.get()));
  std::string bytes(size + 1, '\0');
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got != static_cast<ssize_t>(size)) return fail(ErrorCode::internal, "the file is not as long as was said");
  bytes.resize(size);
  return bytes;
}

/// What fsck.erofs says against the image of a layer without content.
std::string fsck(const LayerIndex& index) {
  const auto program = find_program("fsck.erofs");
  if (!program) return "";
  const auto path = std::filesystem::temp_directory_path() / ("hearth-erofs-" + random_id());
  const auto image = image_of(index);
  if (!image) return image.error().message;
  if (auto written = write_file_atomic(path, *image); !written) return written.error().message;
  const auto done = run_process({.args = {*program, path.string()}});
  std::filesystem::remove(path);
  if (!done) return done.error().message;
  return done->code == 0 ? "" : done->output;
}

// ---- Chunks --------------------------------------------------------------------------------------------------

struct ChunkCase {
  const char* name;
  uint64_t size;
  std::vector<std::pair<uint64_t, uint32_t>> extents;
  uint32_t bits;
};

constexpr uint64_t kMiB = kChunkBytes;

TEST(ErofsImage, ChunksAreAsLargeAsTheHolesAllow) {
  const std::vector<ChunkCase> cases{
      {"small file", 5, {{0, 5}}, 20},
      {"whole chunks and a rest", 2 * kMiB + 7, {{0, kChunkBytes}, {kMiB, kChunkBytes}, {2 * kMiB, 7}}, 20},
      {"a hole of whole chunks", 3 * kMiB, {{0, kChunkBytes}, {2 * kMiB, kChunkBytes}}, 20},
      {"a hole at the end of a chunk", 2 * kMiB, {{0, 65536}, {kMiB, kChunkBytes}}, 16},
      {"data after a page of hole", 2 * kMiB, {{4096, kChunkBytes - 4096}}, 12},
      {"two pages of data in a large hole", 64 * kMiB, {{32 * kMiB + 16384, 8192}}, 13},
      {"data up to an odd end", kMiB + 5, {{kMiB, 5}}, 20},
      {"nothing but a hole", 5 * kMiB, {}, 23},
      {"one byte of hole", 1, {}, 12},
      {"the largest hole", uint64_t{8} << 40, {}, 43},
  };
  for (const auto& one : cases) {
    const auto index = file_with_extents(one.size, one.extents);
    EXPECT_EQ(erofs::chunk_bits_of(index, index.lookup("f").value()), one.bits) << one.name;
  }
}

TEST(ErofsImage, AChunkThatIsNoHoleRefersToThePlainSpaceOfItsPack) {
  const auto index = file_with_extents(3 * kMiB, {{0, kChunkBytes}, {2 * kMiB, kChunkBytes}});
  const auto image = image_of(index).value();
  const auto xattrs = erofs::Xattrs::plan(index).value();
  const auto layout = erofs::Layout::plan(index, xattrs).value();
  const auto file = index.lookup("f").value();
  const auto area = load_le<uint32_t>(image, erofs::superblock::kAt + erofs::superblock::kInodeAreaAt);
  const uint64_t at = uint64_t{area} * erofs::kBlockBytes + layout.nid(file.number) * erofs::kSlotBytes;
  const auto chunk = [&image, at](uint64_t i) {
    const uint64_t record = at + erofs::inode::kBytes + i * erofs::chunk::kIndexBytes;
    return std::pair(load_le<uint16_t>(image, record + erofs::chunk::kDeviceAt),
                     load_le<uint32_t>(image, record + erofs::chunk::kBlockAt));
  };
  EXPECT_EQ(chunk(0), std::pair(uint16_t{1}, uint32_t{0}));
  EXPECT_EQ(chunk(1), std::pair(uint16_t{0}, erofs::kNullAddress));
  EXPECT_EQ(chunk(2), std::pair(uint16_t{1}, uint32_t{256}));
}

TEST(ErofsImage, SparseFilesBeyondReasonAreRefused) {
  const auto index = file_with_extents(uint64_t{8} << 40, {{4096, 4096}});
  const auto image = image_of(index);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::exhausted);
  EXPECT_THAT(image.error().message, AllOf(HasSubstr("inode 1"), HasSubstr("sparse")));
}

// ---- Numbers and bytes ---------------------------------------------------------------------------------------

TEST(ErofsImage, EqualIndexesGiveEqualBytes) {
  const auto index = file_with_extents(3 * kMiB, {{0, kChunkBytes}, {2 * kMiB, kChunkBytes}});
  EXPECT_EQ(image_of(index).value(), image_of(index).value());
}

TEST(ErofsImage, InodeNumbersAreOfTheTreeHoweverManyPacksItLiesIn) {
  FileTree tree;
  ChunkTable one{.packs = {{Digest::of("all"), 200, uint64_t{200} * kPageBytes}}};
  ChunkTable many;
  for (uint32_t i = 0; i < 200; ++i) {
    FileTree::Inode file{.size = 1};
    file.extents = {{0, 1, i}};
    tree.link(kRootInode, "f" + std::to_string(i), tree.add(std::move(file)));
    one.of_ticket.push_back(i);
    one.chunks.push_back({Digest::of(std::to_string(i)), 1});
    one.locations.push_back({.offset = i, .plain_offset = uint64_t{i} * kPageBytes, .stored_length = 1});
    many.packs.push_back({Digest::of("pack " + std::to_string(i)), 1, kPageBytes});
    many.locations.push_back({.pack = i, .stored_length = 1});
  }
  many.of_ticket = one.of_ticket;
  many.chunks = one.chunks;
  const auto first = index_of(tree, one);
  const auto second = index_of(tree, many);
  ASSERT_EQ(first.digest(), second.digest());
  ASSERT_EQ(second.pack_count(), 200u);
  const auto first_xattrs = erofs::Xattrs::plan(first).value();
  const auto second_xattrs = erofs::Xattrs::plan(second).value();
  const auto first_layout = erofs::Layout::plan(first, first_xattrs).value();
  const auto second_layout = erofs::Layout::plan(second, second_xattrs).value();
  for (uint32_t i = 0; i < first.inode_count(); ++i) EXPECT_EQ(first_layout.nid(i), second_layout.nid(i));
  EXPECT_EQ(first_layout.nid(0), 128u);
}

TEST(ErofsImage, TheChecksumIsTheOneOfTheKernel) {
  EXPECT_EQ(erofs::crc32c("123456789"), ~0xE306'9283U);  // the check value of CRC-32C, not inverted
}

TEST(ErofsImage, AnEmptyLayerIsARootDirectory) {
  EXPECT_EQ(fsck(index_of(FileTree())), "");
  EXPECT_EQ(image_of(index_of(FileTree())).value().size(), 2 * erofs::kBlockBytes);
}

TEST(ErofsImage, AFullDiskIsSaid) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const auto written = write_erofs(index_of(FileTree()), full.get());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::exhausted);
}

TEST(ErofsImage, AnIndexWithoutPlainSpacesIsRefused) {
  int refused = 0;
  for (const auto& file : std::filesystem::directory_iterator(HEARTH_SOURCE_DIR "/fuzz/corpus/layer_index")) {
    const auto index = LayerIndex::decode(read_file(file.path(), kMaxIndexBytes).value());
    if (!index || index->is_page_mapped()) continue;
    const auto image = image_of(*index);
    ASSERT_FALSE(image) << file.path();
    EXPECT_EQ(image.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(image.error().message, HasSubstr("deploy again"));
    ++refused;
  }
  EXPECT_GT(refused, 0);
}

// ---- Extended attributes -------------------------------------------------------------------------------------

const std::string kAcl("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff", 12);

TEST(ErofsImage, XattrsThatEveryFileHasAreStoredOnce) {
  FileTree tree;
  for (int i = 0; i < 1000; ++i) {
    tree.link(kRootInode, std::to_string(i),
              tree.add(with_xattrs({{"security.selinux", std::string(400, 's')}, {"user.own", std::to_string(i)}})));
  }
  const auto index = index_of(tree);
  const auto xattrs = erofs::Xattrs::plan(index).value();
  EXPECT_LT(xattrs.shared_area().size(), 500u);
  EXPECT_LT(xattrs.body_bytes(index.lookup("7").value()), 40u);
  EXPECT_EQ(fsck(index), "");
}

TEST(ErofsImage, XattrsOfOneFileAloneStayBehindIt) {
  const auto index = file_with_xattrs({{"user.a", std::string(400, 'a')}});
  EXPECT_EQ(erofs::Xattrs::plan(index).value().shared_area(), "");
  EXPECT_EQ(fsck(index), "");
}

TEST(ErofsImage, AnInodeMayHaveMoreSharedXattrsThanEROFSCounts) {
  FileTree tree;
  std::vector<Xattr> xattrs;
  for (int i = 1000; i < 1300; ++i) xattrs.push_back({"user.x" + std::to_string(i), std::string(100, 'v')});
  for (const char* name : {"a", "b", "c"}) tree.link(kRootInode, name, tree.add(with_xattrs(xattrs)));
  const auto index = index_of(tree);
  const auto plan = erofs::Xattrs::plan(index).value();
  EXPECT_EQ(plan.body_bytes(index.lookup("a").value()), 12 + 255 * 4 + 45 * 112u);  // 4 + "x1000" + 100, in fours
  EXPECT_EQ(fsck(index), "");
}

struct RefusedXattr {
  const char* name;
  Xattr xattr;
  ErrorCode code;
  const char* why;
};

TEST(ErofsImage, XattrsWithoutAPlaceInEROFSAreRefusedByName) {
  const std::vector<RefusedXattr> cases{
      {"unknown namespace", {"com.apple.provenance", "x"}, ErrorCode::invalid_argument, "no file system takes"},
      {"unknown in system", {"system.nfs4_acl", "x"}, ErrorCode::invalid_argument, "no file system takes"},
      {"only a namespace", {"user.", "x"}, ErrorCode::invalid_argument, "no file system takes"},
      {"acl of nonsense", {"system.posix_acl_access", "nonsense"}, ErrorCode::invalid_argument, "access control"},
      {"64 KiB", {"user.big", std::string(65536, 'x')}, ErrorCode::exhausted, "longer than 65535"},
  };
  for (const auto& one : cases) {
    const auto image = image_of(file_with_xattrs({one.xattr}));
    ASSERT_FALSE(image) << one.name;
    EXPECT_EQ(image.error().code, one.code) << one.name;
    EXPECT_THAT(image.error().message, AllOf(HasSubstr("inode 1"), HasSubstr(one.xattr.name), HasSubstr(one.why)));
  }
}

TEST(ErofsImage, MoreXattrsThanAnInodeHoldsAreRefused) {
  std::vector<Xattr> xattrs;
  for (char c = 'a'; c < 'f'; ++c) xattrs.push_back({std::string("user.") + c, std::string(60'000, c)});
  const auto image = image_of(file_with_xattrs(xattrs));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::exhausted);
  xattrs.pop_back();
  EXPECT_EQ(fsck(file_with_xattrs(xattrs)), "");
}

TEST(ErofsImage, AccessControlListsHaveTheirOwnPlace) {
  FileTree tree;
  tree.link(
      kRootInode, "d",
      tree.add({.type = FileType::directory,
                .attributes = {.xattrs = {{"system.posix_acl_access", kAcl}, {"system.posix_acl_default", kAcl}}}}));
  EXPECT_EQ(fsck(index_of(tree)), "");
}

}  // namespace
}  // namespace hearth::image
