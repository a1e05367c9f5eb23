#include "image/layer_index.hpp"

#include "image/file_tree.hpp"
#include "image/layer_encoder.hpp"

#include <gtest/gtest.h>

namespace hearth::image {
namespace {

/// A small tree with one of everything, its two chunks in one pack.
EncodedLayer sample() {
  FileTree tree;
  tree.inode(kRootInode).attributes.xattrs = {{"user.root", "r"}};
  const auto dir =
      tree.add({.type = FileType::directory, .opaque = true, .attributes = {.mode = 01777, .mtime = {-5, 7}}});
  tree.link(kRootInode, "dir", dir);
  FileTree::Inode file{.attributes = {.mode = 04755, .uid = oci::kMaxId, .gid = 3}, .size = 3 * kChunkBytes};
  file.attributes.xattrs = {{"security.capability", std::string(20, 'c')}, {"user.x", ""}};
  file.extents = {{kChunkBytes, kChunkBytes, 0}, {2 * kChunkBytes + 10, 5, 1}};
  const auto id = tree.add(std::move(file));
  tree.link(kRootInode, "file", id);
  tree.link(dir, "hard", id);
  tree.link(dir, "link", tree.add({.type = FileType::symlink, .attributes = {.mode = 0777}, .target = "../file"}));
  tree.link(dir, "null",
            tree.add({.type = FileType::character_device, .attributes = {.mode = 0666}, .device = {1, 3}}));
  tree.link(dir, "gone", tree.add({.type = FileType::whiteout, .attributes = {.mode = 0}}));
  tree.link(dir, "empty", tree.add({.size = 0}));
  ChunkTable chunks{.of_ticket = {1, 0},
                    .chunks = {{Digest::of("small"), 5}, {Digest::of("large"), kChunkBytes}},
                    .locations = {{.pack = 0, .offset = 100, .stored_length = 5},
                                  {.pack = 0, .offset = 0, .stored_length = 100, .encoding = ChunkEncoding::zstd}},
                    .packs = {{Digest::of("pack"), 105}}};
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
  EXPECT_EQ(index.extent(file, 1), (Extent{2 * kChunkBytes + 10, 5, 1}));
  EXPECT_EQ(index.chunk(0).digest, Digest::of("large"));
  EXPECT_EQ(index.location(0).encoding, ChunkEncoding::zstd);
  EXPECT_EQ(index.location(1).offset, 100u);
  EXPECT_EQ(index.pack(0).digest, Digest::of("pack"));
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

TEST(LayerIndex, TheDigestIsOfTheTreeAndNotOfThePlaces) {
  FileTree tree;
  FileTree::Inode file{.size = 5};
  file.extents = {{0, 5, 0}};
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  ChunkTable chunks{.of_ticket = {0},
                    .chunks = {{Digest::of("small"), 5}},
                    .locations = {{.stored_length = 5}},
                    .packs = {{Digest::of("a"), 5}}};
  const auto first = encode_layer(tree, chunks).value();
  chunks.packs[0] = {Digest::of("b"), 50};
  chunks.locations[0].offset = 7;
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
                          .packs = {{Digest::of("a"), 9}, {Digest::of("b"), 5}}};
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
  layer.bytes[8] = 2;
  EXPECT_NE(LayerIndex::decode(layer.bytes).error().message.find("version 2 is not known"), std::string::npos);
}

}  // namespace
}  // namespace hearth::image
