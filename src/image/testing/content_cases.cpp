// Content: sizes around the chunk size, sparse files in every format, compression told by the bytes. Decisions 9
// and 11.
#include "base/little_endian.hpp"
#include "image/layer_index.hpp"
#include "image/testing/image_cases.hpp"
#include "image/testing/tar_writer.hpp"

#include <algorithm>

namespace hearth::image::testing {

namespace {

/// Bytes that do not compress and differ everywhere.
std::string noise(size_t size, uint32_t seed) {
  std::string bytes;
  bytes.reserve(size + 8);
  uint64_t state =
      (uint64_t{seed} + 1) * 0x9E37'79B9'7F4A'7C15u;  // xorshift: this runs at every start of the test program
  while (bytes.size() < size) {
    state ^= state << 13u;
    state ^= state >> 7u;
    state ^= state << 17u;
    append_le(bytes, state);
  }
  bytes.resize(size);
  return bytes;
}

const std::vector<oci::DataSegment> kPieces{{4096, 5}, {1'048'570, 20}, {3'000'000, 4096}};
constexpr uint64_t kSparseSize = 5'000'000;

std::string stored_pieces() {
  std::string bytes;
  for (const auto& piece : kPieces) bytes += noise(piece.length, static_cast<uint32_t>(piece.offset));
  return bytes;
}

/// Holes are what is left between the whole pages that the pieces touch.
NodeSpec sparse_node() {
  NodeSpec node{.content = std::string(kSparseSize, '\0')};
  for (const auto& piece : kPieces) {
    node.content.replace(piece.offset, piece.length, noise(piece.length, static_cast<uint32_t>(piece.offset)));
  }
  node.holes = {{0, 4096}, {8192, 1'036'288}, {1'052'672, 1'945'600}, {3'006'464, kSparseSize - 3'006'464}};
  return node;
}

std::string octal11(uint64_t value) {
  std::string text(12, '\0');
  for (size_t i = 11; i > 0; --i, value /= 8) text[i - 1] = static_cast<char>('0' + value % 8);
  return text;
}

/// Old GNU format with any number of pieces: four in the header, 21 in each further block.
std::string old_gnu(const std::vector<oci::DataSegment>& pieces, uint64_t real_size, const std::string& data) {
  std::vector<oci::DataSegment> all = pieces;
  all.push_back({real_size, 0});
  std::string tail(167, '\0');
  for (size_t i = 0; i < std::min<size_t>(4, all.size()); ++i) {
    tail.replace(41 + i * 24, 12, octal11(all[i].offset));
    tail.replace(53 + i * 24, 12, octal11(all[i].length));
  }
  tail[137] = all.size() > 4 ? '\1' : '\0';
  tail.replace(138, 12, octal11(real_size));
  std::string blocks;
  for (size_t i = 4; i < all.size(); i += 21) {
    std::string block(512, '\0');
    for (size_t j = i; j < std::min(i + 21, all.size()); ++j) {
      block.replace((j - i) * 24, 12, octal11(all[j].offset));
      block.replace((j - i) * 24 + 12, 12, octal11(all[j].length));
    }
    block[504] = i + 21 < all.size() ? '\1' : '\0';
    blocks += block;
  }
  TarWriter tar;
  tar.add({.name = "s",
           .type = 'S',
           .magic = std::string("ustar  \0", 8),
           .raw_size = octal11(data.size()),
           .raw_tail = tail});
  tar.raw(blocks).raw(data).raw(std::string((512 - data.size() % 512) % 512, '\0'));
  return tar.finish();
}

std::string pax_1_0_map(const std::vector<oci::DataSegment>& pieces) {
  std::string map = std::to_string(pieces.size()) + "\n";
  for (const auto& piece : pieces) map += std::to_string(piece.offset) + "\n" + std::to_string(piece.length) + "\n";
  return map + std::string((512 - map.size() % 512) % 512, '\0');
}

ImageCase sparse(std::string name, std::string layer, Judge judge = Judge::none) {
  return {.name = std::move(name),
          .layers = {std::move(layer)},
          .expected = Expect().put("s", sparse_node()).tree(),
          .judge = judge};
}

ImageCase broken_sparse(std::string name, const PaxRecords& pax, std::string data, std::string why) {
  return {.name = std::move(name),
          .layers = {TarWriter().add({.name = "s", .data = std::move(data), .pax = pax}).finish()},
          .refused = std::move(why)};
}

std::vector<ImageCase> good_sparse() {
  PaxRecords v00{{"GNU.sparse.size", std::to_string(kSparseSize)}, {"GNU.sparse.numblocks", "3"}};
  std::string map;
  for (const auto& piece : kPieces) {
    v00.emplace_back("GNU.sparse.offset", std::to_string(piece.offset));
    v00.emplace_back("GNU.sparse.numbytes", std::to_string(piece.length));
    map += (map.empty() ? "" : ",") + std::to_string(piece.offset) + "," + std::to_string(piece.length);
  }
  std::vector<oci::DataSegment> many;  // every page has something of one
  NodeSpec many_node{.content = std::string(100 * 1000, '\0')};
  std::string many_data;
  for (uint64_t i = 0; i < 50; ++i) {
    many.push_back({i * 2000 + 1000, 1000});
    many_data += std::string(1000, static_cast<char>('A' + i));
    many_node.content.replace(i * 2000 + 1000, 1000, std::string(1000, static_cast<char>('A' + i)));
  }
  const std::string size = std::to_string(kSparseSize);
  return {
      sparse("sparse_old_gnu", old_gnu(kPieces, kSparseSize, stored_pieces())),
      {.name = "sparse_old_gnu_with_extension_blocks",
       .layers = {old_gnu(many, 100 * 1000, many_data)},
       .expected = Expect().put("s", many_node).tree()},
      sparse("sparse_pax_0_0", TarWriter().add({.name = "s", .data = stored_pieces(), .pax = v00}).finish(),
             Judge::umoci),
      sparse("sparse_pax_0_1",
             TarWriter()
                 .add({.name = "GNUSparseFile.1/s",
                       .data = stored_pieces(),
                       .pax = {{"GNU.sparse.name", "s"},
                               {"GNU.sparse.size", size},
                               {"GNU.sparse.numblocks", "3"},
                               {"GNU.sparse.map", map}}})
                 .finish(),
             Judge::umoci),
      sparse("sparse_pax_1_0",
             TarWriter()
                 .add({.name = "GNUSparseFile.1/s",
                       .data = pax_1_0_map(kPieces) + stored_pieces(),
                       .pax = {{"GNU.sparse.major", "1"},
                               {"GNU.sparse.minor", "0"},
                               {"GNU.sparse.name", "s"},
                               {"GNU.sparse.realsize", size}}})
                 .finish(),
             Judge::umoci),
      {.name = "sparse_all_hole",
       .layers = {TarWriter()
                      .add({.name = "s",
                            .data = pax_1_0_map({{1'000'000, 0}}),
                            .pax = {{"GNU.sparse.major", "1"},
                                    {"GNU.sparse.minor", "0"},
                                    {"GNU.sparse.realsize", "1000000"}}})
                      .finish()},
       .expected = Expect().put("s", {.content = std::string(1'000'000, '\0'), .holes = {{0, 1'000'000}}}).tree(),
       .judge = Judge::umoci},
      {.name = "sparse_pieces_that_touch_are_one",
       .layers =
           {TarWriter()
                .add({.name = "s",
                      .data = pax_1_0_map({{0, 3}, {3, 3}, {10, 0}}) + "abcdef",
                      .pax = {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "10"}}})
                .finish()},
       .expected = Expect().put("s", {.content = std::string("abcdef\0\0\0\0", 10)}).tree(),
       .judge = Judge::umoci},
      {.name = "sparse_pieces_become_whole_pages",
       .layers =
           {TarWriter()
                .add({.name = "s",
                      .data = pax_1_0_map({{5000, 10}, {8000, 500}, {20'479, 1}, {24'576, 3}}) + std::string(10, 'a') +
                              std::string(500, 'b') + "cddd",
                      .pax = {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "24600"}}})
                .finish()},
       .expected = Expect()
                       .put("s", {.content = std::string(5000, '\0') + std::string(10, 'a') + std::string(2990, '\0') +
                                             std::string(500, 'b') + std::string(11'979, '\0') + "c" +
                                             std::string(4096, '\0') + "ddd" + std::string(21, '\0'),
                                  .holes = {{0, 4096}, {12'288, 4096}, {20'480, 4096}}})
                       .tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> bad_sparse() {
  return {
      broken_sparse("sparse_map_that_overlaps", {{"GNU.sparse.size", "100"}, {"GNU.sparse.map", "0,10,5,10"}},
                    std::string(20, 'x'), "overlap"),
      broken_sparse("sparse_map_beyond_the_end", {{"GNU.sparse.size", "15"}, {"GNU.sparse.map", "0,10,10,10"}},
                    std::string(20, 'x'), "beyond the end"),
      broken_sparse("sparse_map_that_does_not_match_the_data", {{"GNU.sparse.size", "100"}, {"GNU.sparse.map", "0,10"}},
                    std::string(20, 'x'), "does not match the stored size"),
      broken_sparse("sparse_map_with_half_a_piece", {{"GNU.sparse.size", "100"}, {"GNU.sparse.map", "0,10,50"}},
                    std::string(10, 'x'), "offset but no length"),
      broken_sparse("sparse_map_that_is_negative", {{"GNU.sparse.size", "100"}, {"GNU.sparse.map", "-5,10"}},
                    std::string(10, 'x'), "no number"),
      broken_sparse("sparse_file_of_an_unknown_format", {{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}}, "x",
                    "unknown format"),
      broken_sparse("sparse_file_larger_than_any_disk",
                    {{"GNU.sparse.size", "9000000000000000000"}, {"GNU.sparse.map", "0,1"}}, "x",
                    "more than the limit"),
      broken_sparse("sparse_map_of_1_0_that_is_damaged",
                    {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "10"}},
                    std::string(512, '1'), "damaged sparse map"),
  };
}

}  // namespace

std::vector<ImageCase> sparse_cases() {
  auto cases = good_sparse();
  for (auto& bad : bad_sparse()) cases.push_back(std::move(bad));
  return cases;
}

std::vector<ImageCase> size_cases() {
  std::vector<ImageCase> cases;
  TarWriter tar;
  Expect tree;
  const auto sizes = {0u, 1u, 511u, 512u, 513u, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1, 3 * kChunkBytes};
  for (const uint32_t size : sizes) {
    const std::string name = "size" + std::to_string(size);
    tar.file(name, noise(size, size));
    tree.file(name, noise(size, size));
  }
  cases.push_back({.name = "sizes_around_blocks_and_chunks",
                   .layers = {tar.finish()},
                   .expected = tree.tree(),
                   .judge = Judge::umoci});

  const uint64_t huge = (uint64_t{5} << 30) + 7;
  const std::string digests = std::to_string(huge) + " bytes " + Digest::of("begin" + std::string(4091, '\0')).hex() +
                              Digest::of(std::string(4, '\0') + "end").hex();
  cases.push_back({.name = "file_of_more_than_4_gib",
                   .layers = {TarWriter()
                                  .add({.name = "s",
                                        .data = pax_1_0_map({{0, 5}, {huge - 3, 3}}) + "beginend",
                                        .pax = {{"GNU.sparse.major", "1"},
                                                {"GNU.sparse.minor", "0"},
                                                {"GNU.sparse.realsize", std::to_string(huge)}}})
                                  .finish()},
                   .expected = Expect().put("s", {.content = digests, .holes = {{4096, huge - 7 - 4096}}}).tree()});

  TarWriter many;
  Expect many_tree;
  many.directory("d/");
  many_tree.directory("d");
  for (int i = 0; i < 20'000; ++i) {
    many.file("d/" + std::to_string(i), "");
    many_tree.file("d/" + std::to_string(i), "");
  }
  cases.push_back({.name = "directory_of_20000_entries", .layers = {many.finish()}, .expected = many_tree.tree()});

  TarWriter deep;
  Expect deep_tree;
  std::string path;
  for (int i = 0; i < 1500; ++i) {
    path += path.empty() ? "d" : "/d";
    deep_tree.directory(path);
  }
  deep.add({.name = "x", .data = "deep", .pax = {{"path", path + "/f"}}});
  deep_tree.file(path + "/f", "deep");
  cases.push_back({.name = "tree_1500_levels_deep", .layers = {deep.finish()}, .expected = deep_tree.tree()});
  cases.push_back({.name = "path_of_more_than_4095_bytes",
                   .layers = {TarWriter().add({.name = "x", .pax = {{"path", path + "/" + path + "/f"}}}).finish()},
                   .refused = "more than 4095 bytes"});
  return cases;
}

std::vector<ImageCase> compression_cases() {
  const std::string tar =
      TarWriter().file("f", "content").directory("d/").file("d/g", std::string(100'000, 'g')).finish();
  const Expect tree = Expect().file("f", "content").directory("d").file("d/g", std::string(100'000, 'g'));
  const auto good = [&tree](std::string name, std::string layer, Judge judge = Judge::none) {
    return ImageCase{.name = std::move(name), .layers = {std::move(layer)}, .expected = tree.tree(), .judge = judge};
  };
  const auto bad = [](std::string name, std::string layer, std::string why) {
    return ImageCase{.name = std::move(name), .layers = {std::move(layer)}, .refused = std::move(why)};
  };
  std::string skippable("\x5A\x2A\x4D\x18", 4);
  append_le(skippable, uint32_t{6});
  skippable += std::string("skip\0\xff", 6);
  // Every optional field: FTEXT, FHCRC is left out (its checksum is of the header), FEXTRA, FNAME, FCOMMENT.
  const std::string plain_gzip = gzip(tar);
  const std::string fields = std::string("\x1f\x8b\x08\x1d\0\0\0\0\0\xff", 10) + std::string("\x04\0ABCD", 6) +
                             std::string("name\0", 5) + std::string("comment\0", 8) + plain_gzip.substr(10);
  std::string flipped = plain_gzip;
  flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);
  const std::string third = tar.substr(0, tar.size() / 3);
  const std::string rest = tar.substr(tar.size() / 3);
  return {
      good("compression_none", tar),
      good("compression_gzip", plain_gzip, Judge::umoci),
      good("compression_gzip_of_several_members", gzip(third) + gzip("") + gzip(rest), Judge::umoci),
      good("compression_gzip_with_all_header_fields", fields, Judge::umoci),
      good("compression_gzip_padded_with_zeros", plain_gzip + std::string(700, '\0')),
      good("compression_zstd", zstd(tar)),
      good("compression_zstd_of_several_frames", zstd(third) + zstd(rest)),
      good("compression_zstd_with_skippable_frames", skippable + zstd(third) + skippable + zstd(rest) + skippable),
      bad("compression_gzip_cut_in_the_data", plain_gzip.substr(0, plain_gzip.size() / 2), "gzip stream is cut"),
      bad("compression_gzip_cut_in_the_trailer", plain_gzip.substr(0, plain_gzip.size() - 3), "gzip stream is cut"),
      bad("compression_gzip_with_a_wrong_checksum", flipped, "damaged gzip stream"),
      bad("compression_gzip_followed_by_garbage", plain_gzip + "garbage", "damaged gzip stream"),
      bad("compression_zstd_cut", zstd(tar).substr(0, zstd(tar).size() - 2), "zstd stream is cut"),
      bad("compression_zstd_followed_by_garbage", zstd(tar) + "garbage!", "damaged zstd stream"),
      bad("compression_xz",
          std::string("\xFD"
                      "7zXZ\0",
                      6) +
              "x",
          "compressed with xz"),
      bad("compression_bzip2", "BZh91AY", "compressed with bzip2"),
  };
}

std::vector<ImageCase> refused_cases() {
  const std::string good = TarWriter().file("f", "x").finish();
  const std::string one = TarWriter().file("f", "x").bytes();
  std::string lone = one + std::string(512, '\0') + TarWriter().file("g", "y").finish();
  return {
      {.name = "tar_without_end_blocks",
       .layers = {one},
       .expected = Expect().file("f", "x").tree(),
       .note = "lacks its end blocks"},
      {.name = "tar_without_padding_and_end_blocks",
       .layers = {one.substr(0, 513)},
       .expected = Expect().file("f", "x").tree(),
       .note = "lacks the padding"},
      {.name = "tar_with_one_end_block",
       .layers = {one + std::string(512, '\0')},
       .expected = Expect().file("f", "x").tree(),
       .note = "second end block"},
      {.name = "tar_with_bytes_after_its_end",
       .layers = {good + "trailing garbage"},
       .expected = Expect().file("f", "x").tree(),
       .note = "bytes after the end",
       .judge = Judge::none},
      {.name = "tar_of_nothing", .layers = {""}, .expected = Expect().tree(), .note = "lacks its end blocks"},
      {.name = "tar_with_entries_after_a_single_zero_block", .layers = {lone}, .refused = "single zero block"},
      {.name = "tar_cut_inside_a_file",
       .layers = {TarWriter().file("f", std::string(5000, 'x')).bytes().substr(0, 3000)},
       .refused = "cut inside a file"},
      {.name = "tar_cut_inside_a_header", .layers = {one + good.substr(0, 100)}, .refused = "cut inside a header"},
      {.name = "tar_that_is_none", .layers = {std::string(2000, 'j')}, .refused = "wrong checksum"},
      {.name = "path_out_of_the_root",
       .layers = {TarWriter().file("../evil", "x").finish()},
       .refused = "leads out of the image"},
      {.name = "path_out_of_the_root_by_a_detour",
       .layers = {TarWriter().file("a/../../evil", "x").finish()},
       .refused = "leads out of the image"},
      {.name = "path_of_nothing", .layers = {TarWriter().add({.name = ""}).finish()}, .refused = "without a name"},
      {.name = "path_root_as_a_file",
       .layers = {TarWriter().file("./", "x").finish()},
       .refused = "root something else"},
      {.name = "path_root_as_a_symlink",
       .layers = {TarWriter().symlink(".", "/etc").finish()},
       .refused = "root something else"},
      {.name = "whiteout_of_no_name", .layers = {TarWriter().file("d/.wh.", "").finish()}, .refused = "hides nothing"},
      {.name = "whiteout_of_dot", .layers = {TarWriter().file("d/.wh..", "").finish()}, .refused = "hides nothing"},
      {.name = "whiteout_of_dot_dot",
       .layers = {TarWriter().file("d/.wh...", "").finish()},
       .refused = "hides nothing"},
      {.name = "kind_unknown",
       .layers = {TarWriter().add({.name = "f", .type = 'Z'}).finish()},
       .refused = "has no place in a layer"},
      {.name = "kind_multi_volume",
       .layers = {TarWriter().add({.name = "f", .type = 'M'}).finish()},
       .refused = "has no place in a layer"},
      {.name = "pax_header_that_is_too_large",
       .layers = {TarWriter().add({.name = "p", .type = 'x', .raw_size = "77777777777"}).finish()},
       .refused = "over the limit"},
  };
}

std::vector<ImageCase> all_image_cases() {
  std::vector<ImageCase> cases;
  for (auto& part : {whiteout_cases(), path_cases(), link_cases(), header_cases(), attribute_cases(), sparse_cases(),
                     size_cases(), compression_cases(), refused_cases()}) {
    cases.insert(cases.end(), part.begin(), part.end());
  }
  return cases;
}

}  // namespace hearth::image::testing
