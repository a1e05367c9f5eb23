#include "image/layer_index.hpp"

#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "image/file_tree.hpp"
#include "image/layer_encoder.hpp"
#include "image/layer_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSampleSize = 2 * kChunkBytes + kPageBytes + 5;
constexpr uint32_t kBlocks = kChunkBytes / kBlockBytes;

std::vector<Digest> some_blocks() {
  std::vector<Digest> blocks;
  for (uint32_t i = 0; i < kBlocks; ++i) blocks.push_back(Digest::of("block " + std::to_string(i)));
  return blocks;
}

/// The chunks of sample(): a small one that lies behind a large one.
ChunkTable sample_chunks() {
  return {.of_ticket = {1, 0},
          .chunks = {{Digest::of("small"), 5}, {Digest::of("large"), kChunkBytes}},
          .blocks = some_blocks(),
          .locations = {{.pack = 0, .offset = 100, .plain_offset = kChunkBytes, .stored_length = 5},
                        {.pack = 0, .offset = 0, .stored_length = 100, .encoding = ChunkEncoding::zstd}},
          .packs = {{Digest::of("pack"), 105, kChunkBytes + kPageBytes}}};
}

/// A small tree with one of everything, its two chunks in one pack.
EncodedLayer sample(const ChunkTable& chunks = sample_chunks()) {
  FileTree tree;
  tree.inode(kRootInode).attributes.xattrs = {{"user.root", "r"}};
  const auto dir =
      tree.add({.type = FileType::directory, .opaque = true, .attributes = {.mode = 01777, .mtime = {-5, 7}}});
  tree.link(kRootInode, "dir", dir);
  FileTree::Inode file{.attributes = {.mode = 04755, .uid = oci::kMaxId, .gid = 3}, .size = kSampleSize};
  file.attributes.xattrs = {{"security.capability", std::string(20, 'c')}, {"user.x", ""}};
  file.extents = {{kChunkBytes, kChunkBytes, 0}, {2 * kChunkBytes + kPageBytes, 5, 1}};
  const auto id = tree.add(std::move(file));
  tree.link(kRootInode, "file", id);
  tree.link(dir, "hard", id);
  tree.link(dir, "link", tree.add({.type = FileType::symlink, .attributes = {.mode = 0777}, .target = "../file"}));
  tree.link(dir, "null",
            tree.add({.type = FileType::character_device, .attributes = {.mode = 0666}, .device = {1, 3}}));
  tree.link(dir, "gone", tree.add({.type = FileType::whiteout, .attributes = {.mode = 0}}));
  tree.link(dir, "empty", tree.add({.size = 0}));
  return encode_layer(tree, chunks).value();
}

TEST(LayerIndex, GivesBackWhatWasEncoded) {
  const EncodedLayer layer = sample();
  const auto index = LayerIndex::decode(layer.bytes).value();
  EXPECT_EQ(index.digest(), layer.digest);
  EXPECT_EQ(index.inode_count(), 7u);
  EXPECT_EQ(index.entry_count(), 7u);
  EXPECT_EQ(index.content_bytes(), kChunkBytes + 5);
  EXPECT_EQ(index.stored_bytes(), 105u);

  const auto file = index.lookup("dir/hard").value();
  EXPECT_EQ(file.number, index.lookup("file")->number);
  EXPECT_EQ(file.links, 2u);
  EXPECT_EQ(file.uid, oci::kMaxId);
  EXPECT_EQ(file.mode, 04755);
  EXPECT_EQ(index.extent(file, 0), (Extent{kChunkBytes, kChunkBytes, 0}));
  EXPECT_EQ(index.extent(file, 1), (Extent{2 * kChunkBytes + kPageBytes, 5, 1}));
  EXPECT_EQ(index.chunk(0).digest, Digest::of("large"));
  EXPECT_EQ(index.location(0).encoding, ChunkEncoding::zstd);
  EXPECT_EQ(index.location(1).offset, 100u);
  EXPECT_EQ(index.location(0).plain_offset, 0u);
  EXPECT_EQ(index.location(1).plain_offset, kChunkBytes);
  EXPECT_EQ(index.pack(0).digest, Digest::of("pack"));
  EXPECT_EQ(index.pack(0).size, 105u);
  EXPECT_EQ(index.pack(0).plain_size, kChunkBytes + kPageBytes);
  EXPECT_EQ(index.xattr(file, 1).name, "user.x");
  EXPECT_EQ(index.xattr(file, 0).value, std::string(20, 'c'));

  const auto dir = index.lookup("dir").value();
  EXPECT_TRUE(dir.opaque);
  EXPECT_EQ(dir.mtime, (FileTime{-5, 7}));
  EXPECT_EQ(dir.links, 2u);
  EXPECT_EQ(index.inode(0).links, 3u);
  EXPECT_EQ(index.lookup("dir/link")->target, "../file");
  EXPECT_EQ(index.lookup("dir/null")->device, (Device{1, 3}));
  EXPECT_EQ(index.lookup("dir/gone")->type, FileType::whiteout);
  EXPECT_EQ(index.lookup("dir/none"), std::nullopt);
  EXPECT_EQ(index.lookup("file/none"), std::nullopt);
}

TEST(LayerIndex, EveryBlockOfALargeChunkHasADigestAndASmallOneIsItsOwnBlock) {
  const auto index = LayerIndex::decode(sample().bytes).value();
  EXPECT_TRUE(index.is_page_mapped());
  EXPECT_EQ(index.block_count(0), kBlocks);
  for (uint32_t i = 0; i < kBlocks; ++i) EXPECT_EQ(index.block(0, i), some_blocks()[i]);
  EXPECT_EQ(index.block_count(1), 1u);
  EXPECT_EQ(index.block(1, 0), Digest::of("small"));
}

TEST(LayerIndex, TheDigestIsOfTheTreeAndNotOfThePlaces) {
  FileTree tree;
  FileTree::Inode file{.size = 5};
  file.extents = {{0, 5, 0}};
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  ChunkTable chunks{.of_ticket = {0},
                    .chunks = {{Digest::of("small"), 5}},
                    .locations = {{.stored_length = 5}},
                    .packs = {{Digest::of("a"), 5, kPageBytes}}};
  const auto first = encode_layer(tree, chunks).value();
  chunks.packs[0] = {Digest::of("b"), 50, 3 * kPageBytes};
  chunks.locations[0].offset = 7;
  chunks.locations[0].plain_offset = kPageBytes;
  const auto second = encode_layer(tree, chunks).value();
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_NE(first.bytes, second.bytes);
}

TEST(LayerIndex, PacksThatNothingUsesAnyMoreAreLeftOut) {
  FileTree tree;
  FileTree::Inode file{.size = 5};
  file.extents = {{0, 5, 1}};
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  const ChunkTable chunks{.of_ticket = {0, 1},
                          .chunks = {{Digest::of("overwritten"), 9}, {Digest::of("small"), 5}},
                          .locations = {{.pack = 0, .stored_length = 9}, {.pack = 1, .stored_length = 5}},
                          .packs = {{Digest::of("a"), 9, kPageBytes}, {Digest::of("b"), 5, kPageBytes}}};
  const auto index = LayerIndex::decode(encode_layer(tree, chunks).value().bytes).value();
  EXPECT_EQ(index.chunk_count(), 1u);
  EXPECT_EQ(index.pack_count(), 1u);
  EXPECT_EQ(index.pack(index.location(0).pack).digest, Digest::of("b"));
}

TEST(LayerIndex, EveryFlippedBitIsNoticed) {
  const EncodedLayer layer = sample();
  for (size_t i = 0; i < layer.bytes.size() * 8; ++i) {
    std::string damaged = layer.bytes;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    const auto index = LayerIndex::decode(std::move(damaged));
    if (index) EXPECT_NE(index->digest(), layer.digest) << "bit " << i;
  }
}

TEST(LayerIndex, EveryCutIsRefused) {
  const EncodedLayer layer = sample();
  for (size_t size = 0; size < layer.bytes.size(); ++size) {
    EXPECT_EQ(LayerIndex::decode(layer.bytes.substr(0, size)).error().code, ErrorCode::corrupt) << size;
  }
  EXPECT_EQ(LayerIndex::decode(layer.bytes + '\0').error().code, ErrorCode::corrupt);
}

TEST(LayerIndex, AnotherVersionIsRefusedByName) {
  EncodedLayer layer = sample();
  layer.bytes[8] = 4;
  EXPECT_THAT(LayerIndex::decode(layer.bytes).error().message, HasSubstr("version 4 is not known"));
}

/// What an index with other places than the sample's is refused for.
std::string refusal(const std::function<void(ChunkTable&)>& change) {
  ChunkTable chunks = sample_chunks();
  change(chunks);
  const auto index = LayerIndex::decode(sample(chunks).bytes);
  return index ? "accepted" : index.error().message;
}

TEST(LayerIndex, PlacesThatAreNotMadeOfPagesAreRefused) {
  EXPECT_EQ(refusal([](ChunkTable&) {}), "accepted");
  EXPECT_THAT(refusal([](ChunkTable& t) { t.locations[0].plain_offset += 1; }), HasSubstr("begin at a page"));
  EXPECT_THAT(refusal([](ChunkTable& t) { t.packs[0].plain_size += 1; }), HasSubstr("plain space"));
  EXPECT_THAT(refusal([](ChunkTable& t) { t.packs[0].plain_size = kPackPlainBytes + kPageBytes; }),
              HasSubstr("plain space"));
}

TEST(LayerIndex, ChunksBeyondTheirPackOrInOneAnotherAreRefused) {
  EXPECT_THAT(refusal([](ChunkTable& t) { t.packs[0].plain_size -= kPageBytes; }), HasSubstr("beyond the plain space"));
  EXPECT_THAT(refusal([](ChunkTable& t) { t.packs[0].size -= 1; }), HasSubstr("beyond its pack"));
  EXPECT_THAT(refusal([](ChunkTable& t) { t.locations[0].plain_offset -= kPageBytes; }), HasSubstr("overlap"));
  EXPECT_THAT(refusal([](ChunkTable& t) { t.locations[0].offset -= 1; }), HasSubstr("overlap"));
}

/// The sample with a field of the first extent's or chunk's record replaced, wherever they lie.
std::string with_field(uint64_t offset, auto value) {
  std::string bytes = sample().bytes;
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  return LayerIndex::decode(std::move(bytes)).error().message;
}

TEST(LayerIndex, ExtentsThatCannotBeMappedByPagesAreRefused) {
  const uint64_t extents = format::kHeaderBytes + 7 * format::kInodeBytes;
  const uint64_t second = extents + format::kExtentBytes;
  EXPECT_THAT(with_field(second, uint64_t{2 * kChunkBytes + 10}), HasSubstr("not made of pages"));
  EXPECT_THAT(with_field(second, uint64_t{2 * kChunkBytes}), HasSubstr("not made of pages"))
      << "five bytes are no page, and not the end of the file";
}

TEST(LayerIndex, BlocksOutOfOrderAreRefused) {
  const uint64_t chunks =
      format::kHeaderBytes + 7 * format::kInodeBytes + 2 * format::kExtentBytes + 3 * format::kXattrBytes;
  EXPECT_THAT(with_field(chunks + format::chunk::kFirstBlockAt, uint32_t{1}), HasSubstr("blocks out of order"));
  EXPECT_THAT(with_field(chunks + format::kChunkEntryBytes + format::chunk::kFirstBlockAt, uint32_t{16}),
              HasSubstr("blocks out of order"));
}

/// Indexes that a program of the first version wrote, kept as they were.
TEST(LayerIndex, LayersOfVersionOneCanStillBeReadButNotMappedByPages) {
  int read = 0;
  for (const auto& file : std::filesystem::directory_iterator(HEARTH_SOURCE_DIR "/fuzz/corpus/layer_index")) {
    const std::string bytes = read_file(file.path(), kMaxIndexBytes).value();
    if (load_le<uint32_t>(bytes, format::header::kVersionAt) != 1) continue;
    const auto index = LayerIndex::decode(bytes);
    ASSERT_TRUE(index) << file.path() << ": " << index.error().message;
    EXPECT_FALSE(index->is_page_mapped());
    ++read;
    for (uint32_t chunk = 0; chunk < index->chunk_count(); ++chunk) {
      EXPECT_EQ(index->block_count(chunk), 1u);
      EXPECT_EQ(index->block(chunk, 0), index->chunk(chunk).digest);
      EXPECT_LE(index->location(chunk).offset + index->location(chunk).stored_length, index->pack(0).size);
    }
  }
  EXPECT_EQ(read, 7);
}

}  // namespace
}  // namespace hearth::image
