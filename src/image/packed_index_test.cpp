#include "image/packed_index.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "image/file_tree.hpp"
#include "image/layer_encoder.hpp"
#include "image/layer_format.hpp"
#include "image/layer_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cstring>
#include <filesystem>
#include <string>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;
namespace packed = format::packed;

/// Folders, files of one chunk each, links: enough for every table but xattrs to be larger than a tile.
EncodedLayer large_layer() {
  FileTree tree;
  ChunkTable chunks;
  uint64_t offset = 0;
  uint64_t plain_offset = 0;
  for (uint32_t i = 0; i < 3000; ++i) {
    const auto folder = tree.add({.type = FileType::directory, .attributes = {.mode = 0755, .mtime = {i, i}}});
    tree.link(kRootInode, "folder " + std::to_string(i), folder);
    const uint32_t length = i % 500 == 0 ? kChunkBytes : 100 + i;
    FileTree::Inode file{.attributes = {.mode = 0644, .uid = i % 7}, .size = length};
    file.attributes.xattrs = {{"user.n", std::to_string(i)}};
    file.extents = {{0, length, i}};
    tree.link(folder, "file", tree.add(std::move(file)));
    tree.link(folder, "link", tree.add({.type = FileType::symlink, .target = "../" + std::to_string(i)}));
    chunks.of_ticket.push_back(i);
    chunks.chunks.push_back({Digest::of(std::to_string(i)), length});
    for (uint32_t b = 0; length > kBlockBytes && b < blocks_of(length); ++b)
      chunks.blocks.push_back(Digest::of(std::to_string(i) + " " + std::to_string(b)));
    chunks.locations.push_back({.offset = offset, .plain_offset = plain_offset, .stored_length = length});
    offset += length;
    plain_offset += round_up_to_page(length);
  }
  chunks.packs = {{Digest::of("pack"), offset, plain_offset}};
  return encode_layer(tree, chunks).value();
}

EncodedLayer small_layer() {
  FileTree tree;
  FileTree::Inode file{.size = 5};
  file.extents = {{0, 5, 0}};
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  return encode_layer(tree, {.of_ticket = {0},
                             .chunks = {{Digest::of("small"), 5}},
                             .locations = {{.stored_length = 5}},
                             .packs = {{Digest::of("pack"), 5, kPageBytes}}})
      .value();
}

std::string without_checksum(const std::string& plain) {
  return plain.substr(0, plain.size() - format::kPlaceTrailerBytes);
}

std::string refusal(const std::string& stored) {
  const auto plain = unpack_index(stored);
  return plain ? "accepted" : plain.error().message;
}

uint64_t places_at(std::string_view stored) {
  return packed::kHeadBytes + load_le<uint64_t>(stored, packed::kFrameBytesAt);
}

/// A packed index made of parts: `tables` and `locations` are compressed as they are.
std::string made_of(std::string header, std::string_view tables, std::string_view locations) {
  const auto frame = [](std::string_view plain) {
    std::string out(::ZSTD_compressBound(plain.size()), '\0');
    out.resize(::ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 1));
    return out;
  };
  std::string out(format::kTreeMagic);
  append_le(out, packed::kVersion);
  append_le(out, static_cast<uint32_t>(packed::kHeadBytes));
  const std::string tree = frame(tables);
  append_le(out, uint64_t{tree.size()});
  append_le(out, uint64_t{0});
  out += header + tree;
  const size_t begin = out.size();
  out += format::kPlaceMagic;
  append_le(out, packed::kVersion);
  append_le(out, uint32_t{0});
  append_le(out, load_le<uint32_t>(header, format::header::kChunksAt));
  append_le(out, uint32_t{0});
  out += frame(locations);
  const Digest checksum = Digest::of(std::string_view(out).substr(begin));
  out.append(reinterpret_cast<const char*>(checksum.bytes().data()), Digest::kSize);
  return out;
}

/// The header of a tree of so many inodes and nothing else.
std::string header_of(uint32_t inodes, uint64_t tree_bytes) {
  std::string header(format::kTreeMagic);
  header.resize(format::kHeaderBytes, '\0');
  store_le(header.data() + format::header::kVersionAt, format::kVersion);
  store_le(header.data() + format::header::kTreeBytesAt, tree_bytes);
  store_le(header.data() + format::header::kInodesAt, inodes);
  return header;
}

TEST(PackedIndex, GivesBackThePlainOneToTheByte) {
  for (const EncodedLayer& layer : {small_layer(), large_layer()}) {
    const std::string stored = pack_index(layer.bytes);
    EXPECT_TRUE(is_packed_index(stored));
    EXPECT_FALSE(is_packed_index(layer.bytes));
    EXPECT_EQ(unpack_index(stored).value(), without_checksum(layer.bytes));
    EXPECT_EQ(stored, pack_index(layer.bytes)) << "equal layers give equal objects";
  }
}

TEST(PackedIndex, IsTheSameLayer) {
  const EncodedLayer layer = large_layer();
  const std::string stored = pack_index(layer.bytes);
  const auto index = LayerIndex::decode(stored).value();
  const auto plain = LayerIndex::decode(layer.bytes).value();
  EXPECT_EQ(index.digest(), layer.digest);
  EXPECT_EQ(index.index_bytes(), stored.size());
  EXPECT_EQ(plain.index_bytes(), layer.bytes.size());
  EXPECT_EQ(index.lookup("folder 2999/file")->size, 3099u);
  EXPECT_EQ(index.pack(0).digest, plain.pack(0).digest);
  ASSERT_EQ(index.chunk_count(), plain.chunk_count());
  for (uint32_t i = 0; i < index.chunk_count(); ++i) {
    EXPECT_EQ(index.chunk(i).digest, plain.chunk(i).digest);
    EXPECT_EQ(index.location(i).plain_offset, plain.location(i).plain_offset);
  }
}

/// Digests do not compress: 32 bytes a chunk and a block. What is left of the rest is the smaller part.
TEST(PackedIndex, LeavesLittleBesideTheDigests) {
  const EncodedLayer layer = large_layer();
  const auto index = LayerIndex::decode(layer.bytes).value();
  const uint64_t digests = (index.chunk_count() + 6 * blocks_of(kChunkBytes)) * Digest::kSize;
  EXPECT_LT(pack_index(layer.bytes).size(), digests + (layer.bytes.size() - digests) / 5);
}

TEST(PackedIndex, EveryFlippedBitIsNoticedOrChangesNothing) {
  const EncodedLayer layer = small_layer();
  const std::string stored = pack_index(layer.bytes);
  for (size_t i = 0; i < stored.size() * 8; ++i) {
    std::string damaged = stored;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    const auto index = LayerIndex::decode(damaged);
    if (!index || index->digest() != layer.digest) continue;
    EXPECT_EQ(unpack_index(damaged).value(), without_checksum(layer.bytes)) << "bit " << i;
  }
}

TEST(PackedIndex, EveryCutIsRefused) {
  const std::string stored = pack_index(small_layer().bytes);
  for (size_t size = 0; size < stored.size(); ++size)
    EXPECT_EQ(LayerIndex::decode(stored.substr(0, size)).error().code, ErrorCode::corrupt) << size;
  EXPECT_EQ(LayerIndex::decode(stored + '\0').error().code, ErrorCode::corrupt);
}

TEST(PackedIndex, PlacesThatDoNotMatchTheirChecksumAreRefused) {
  std::string stored = pack_index(large_layer().bytes);
  stored[places_at(stored) + format::kPlaceHeaderBytes] ^= 1;
  EXPECT_THAT(refusal(stored), HasSubstr("checksum"));
}

TEST(PackedIndex, SizesThatDoNotAddUpAreRefused) {
  const std::string good = pack_index(large_layer().bytes);
  const auto with = [&good](size_t at, auto value) {
    std::string stored = good;
    store_le(stored.data() + at, value);
    return refusal(stored);
  };
  const auto frame = load_le<uint64_t>(good, packed::kFrameBytesAt);
  EXPECT_THAT(with(packed::kFrameBytesAt, ~uint64_t{0}), HasSubstr("cut"));
  EXPECT_THAT(with(packed::kFrameBytesAt, frame + 1), HasSubstr("no table of places"));
  EXPECT_THAT(with(packed::kReservedAt, uint64_t{1}), HasSubstr("reserved"));
  EXPECT_THAT(with(packed::kHeadBytesAt, uint32_t{96}), HasSubstr("header size"));
  EXPECT_THAT(with(packed::kTreeHeaderAt + format::header::kVersionAt, uint32_t{1}), HasSubstr("version 2"));
  EXPECT_THAT(with(packed::kTreeHeaderAt + format::header::kInodesAt, ~uint32_t{0}), HasSubstr("counts"));
  EXPECT_THAT(with(packed::kTreeHeaderAt + format::header::kTreeBytesAt, ~uint64_t{0}), HasSubstr("limit"));
  EXPECT_THAT(with(packed::kTreeHeaderAt + format::header::kTreeBytesAt, kMaxIndexBytes / 2),
              HasSubstr("so few bytes"));
}

TEST(PackedIndex, ATableThatIsLargerOrSmallerThanItsCountsIsRefused) {
  const uint64_t tree_bytes = format::kHeaderBytes + 2 * format::kInodeBytes;
  const std::string header = header_of(2, tree_bytes);
  const std::string two(2 * format::kInodeBytes, 'x');
  EXPECT_EQ(refusal(made_of(header, two, "")), "accepted") << "what is in the tables is checked by who decodes them";
  EXPECT_THAT(refusal(made_of(header, two + 'x', "")), HasSubstr("more tables"));
  EXPECT_THAT(refusal(made_of(header, two.substr(1), "")), HasSubstr("fewer tables"));
  EXPECT_THAT(refusal(made_of(header, two, "x")), HasSubstr("more tables"));
}

TEST(PackedIndex, ABombIsRefusedBeforeItIsUnpacked) {
  const uint64_t inodes = 16 << 20;
  const std::string header = header_of(inodes, format::kHeaderBytes + inodes * format::kInodeBytes);
  EXPECT_THAT(refusal(made_of(header, std::string(1 << 20, '\0'), "")), HasSubstr("so few bytes"));
}

/// A sparse file whose data repeats: its extents are all but equal.
TEST(PackedIndex, WhatCompressesBeyondTheBoundIsStoredPlain) {
  FileTree tree;
  constexpr uint64_t kExtents = 400'000;
  FileTree::Inode file{.size = kExtents * kChunkBytes};
  for (uint64_t i = 0; i < kExtents; ++i) file.extents.push_back({i * kChunkBytes, kPageBytes, 0});
  tree.link(kRootInode, "f", tree.add(std::move(file)));
  const EncodedLayer layer = encode_layer(tree, {.of_ticket = {0},
                                                 .chunks = {{Digest::of("page"), kPageBytes}},
                                                 .locations = {{.stored_length = kPageBytes}},
                                                 .packs = {{Digest::of("pack"), kPageBytes, kPageBytes}}})
                                 .value();
  const std::string stored = pack_index(layer.bytes);
  EXPECT_FALSE(is_packed_index(stored));
  EXPECT_EQ(LayerIndex::decode(stored).value().digest(), layer.digest);
}

TEST(PackedIndex, TheFuzzersSeedsAreWhatIsWritten) {
  int seen = 0;
  for (const auto& file : std::filesystem::directory_iterator(HEARTH_SOURCE_DIR "/fuzz/corpus/layer_index")) {
    const std::string name = file.path().filename();
    if (!name.starts_with("v3_")) continue;
    const auto plain = read_file(file.path().parent_path() / ("v2_" + name.substr(3)), kMaxIndexBytes).value();
    const auto stored = read_file(file.path(), kMaxIndexBytes).value();
    EXPECT_EQ(unpack_index(stored).value(), without_checksum(plain)) << name;
    EXPECT_EQ(LayerIndex::decode(stored)->digest(), LayerIndex::decode(plain)->digest()) << name;
    ++seen;
  }
  EXPECT_EQ(seen, 7);
}

}  // namespace
}  // namespace hearth::image
