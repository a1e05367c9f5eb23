#include "mount/pack_file.hpp"

#include "base/file.hpp"
#include "mount/testing/cache_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <thread>

namespace hearth::mount {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::must;

constexpr uint64_t kPage = kPageBytes;

/// A layer of a few files in one pack, and the pack's file, without a cache around it.
class PackFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    index = layers.build({{"a", testing::noise(10'000, 1)}, {"b", testing::prose(300'000, 2)}, {"c", "small"}});
    ASSERT_EQ(index->pack_count(), 1u);
    chunks = std::make_shared<const LayerChunks>(index, "acme");
  }
  image::PackInfo info() const { return index->pack(0); }
  PackFile::Place place(const std::string& simulated_boot = "simulated boot 1") {
    return {.data = folder.path() / "x.data",
            .present = folder.path() / "x.present",
            .epoch = Digest::of(simulated_boot),
            .io = &disk,
            .room = nullptr};
  }
  std::shared_ptr<PackFile> open(const std::string& simulated_boot = "simulated boot 1") {
    return must(PackFile::open(info(), place(simulated_boot), {}));
  }
  /// The pack file with the layer and all of its content.
  std::shared_ptr<PackFile> full() {
    auto file = open();
    must(file->add_layer(chunks, 0));
    for (const auto& chunk : file->chunks({0, info().plain_size})) must(file->store(chunk.plain_offset, plain(chunk)));
    return file;
  }
  std::string plain(const PackChunk& chunk) { return testing::plain_bytes(layers, *index, chunk.number); }
  static std::string read(const PackFile& file, uint64_t offset, size_t size) {
    std::string bytes(size, '?');
    must(file.read(offset, bytes.data(), size));
    return bytes;
  }

  testing::LayerStore layers;
  testing::TemporaryFolder folder;
  testing::SimulatedDisk disk;
  std::shared_ptr<const image::LayerIndex> index;
  std::shared_ptr<const LayerChunks> chunks;
};

TEST_F(PackFileTest, ANewFileIsSparseAndHasNothing) {
  const auto file = open();
  EXPECT_EQ(file->plain_size(), info().plain_size);
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "x.data"), info().plain_size);
  EXPECT_EQ(file->allocated_bytes(), 0u);
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_THAT(file->missing(0, info().plain_size), ElementsAre(PageRange{0, info().plain_size}));
}

TEST_F(PackFileTest, PagesArePresentOnceTheyAreStored) {
  const auto file = open();
  must(file->store(2 * kPage, testing::noise(2 * kPage, 5)));
  EXPECT_TRUE(file->present(2 * kPage, 2 * kPage));
  EXPECT_TRUE(file->present(2 * kPage + 5, 1));
  EXPECT_FALSE(file->present(2 * kPage - 1, 2));
  EXPECT_THAT(file->missing(kPage, 4 * kPage), ElementsAre(PageRange{kPage, kPage}, PageRange{4 * kPage, kPage}));
  EXPECT_EQ(read(*file, 2 * kPage, 2 * kPage), testing::noise(2 * kPage, 5));
}

TEST_F(PackFileTest, TheRestOfTheLastPageIsZeros) {
  const auto file = open();
  must(file->store(0, std::string(kPage, '#')));
  must(file->store(0, "short"));
  EXPECT_EQ(read(*file, 0, kPage), "short" + std::string(kPage - 5, '\0'));
}

TEST_F(PackFileTest, BytesThatAreNoPagesOfThePackAreRefused) {
  const auto file = open();
  for (const auto& [offset, size] :
       {std::pair<uint64_t, size_t>{1, 10}, {0, 0}, {info().plain_size, 1}, {info().plain_size - kPage, kPage + 1}}) {
    EXPECT_EQ(file->store(offset, std::string(size, 'x')).error().code, ErrorCode::invalid_argument) << offset;
  }
  EXPECT_FALSE(file->present(info().plain_size, 1));
  EXPECT_FALSE(file->present(0, info().plain_size + 1));
  EXPECT_THAT(file->missing(info().plain_size + 5 * kPage, kPage), IsEmpty());
}

TEST_F(PackFileTest, AWriteThatTheDiskTakesInPiecesIsFinished) {
  const auto file = open();
  disk.largest_write = 1000;
  must(file->store(0, testing::noise(3 * kPage - 7, 3)));
  EXPECT_EQ(read(*file, 0, 3 * kPage - 7), testing::noise(3 * kPage - 7, 3));
}

TEST_F(PackFileTest, AFailedWriteLeavesItsPagesMissing) {
  const auto file = open();
  disk.write_error = EIO;
  EXPECT_EQ(file->store(0, "x").error().code, ErrorCode::internal);
  disk.write_error = ENOSPC;
  EXPECT_EQ(file->store(0, "x").error().code, ErrorCode::exhausted);
  EXPECT_FALSE(file->present(0, 1));
  disk.write_error = 0;
  must(file->store(0, "x"));
  EXPECT_TRUE(file->present(0, 1));
}

TEST_F(PackFileTest, IsCompleteWhenEveryChunkOfItsLayersIsPresent) {
  int calls = 0;
  const auto file = open();
  file->on_complete([&calls] { ++calls; });
  EXPECT_FALSE(file->complete());  // of no layer
  must(file->add_layer(chunks, 0));
  EXPECT_FALSE(file->complete());
  EXPECT_EQ(file->missing_bytes(), info().plain_size);
  const auto all = file->chunks({0, info().plain_size});
  ASSERT_GE(all.size(), 3u);
  for (const auto& chunk : all) {
    EXPECT_FALSE(file->complete());
    EXPECT_EQ(calls, 0);
    must(file->store(chunk.plain_offset, plain(chunk)));
  }
  EXPECT_TRUE(file->complete());
  EXPECT_EQ(file->missing_bytes(), 0u);
  EXPECT_EQ(calls, 1);
  file->distrust({kPage, kPage});
  EXPECT_FALSE(file->complete());
  EXPECT_EQ(file->missing_bytes(), kPage);
  file->remove_layer(*chunks);
  EXPECT_FALSE(file->complete());
}

TEST_F(PackFileTest, ChunksAreFoundByTheirPages) {
  const auto file = open();
  must(file->add_layer(chunks, 0));
  const auto all = file->chunks({0, info().plain_size});
  for (const auto& chunk : all) {
    const auto pages = chunk.pages();
    EXPECT_EQ(file->chunks({pages.end() - kPage, kPage}).back().number, chunk.number);
    EXPECT_EQ(file->chunks({pages.offset, kPage}).front().number, chunk.number);
  }
  EXPECT_TRUE(file->covers({0, info().plain_size}));
  file->remove_layer(*chunks);
  EXPECT_FALSE(file->covers({0, kPage}));
  EXPECT_THAT(file->chunks({0, info().plain_size}), IsEmpty());
}

TEST_F(PackFileTest, WhatAKilledProcessStoredIsThereForTheNextOne) {
  full();  // and closed without any ceremony
  const auto again = open();
  must(again->add_layer(chunks, 0));
  EXPECT_TRUE(again->complete());
}

TEST_F(PackFileTest, AfterABootWhatWasThereIsACandidateOnly) {
  full();
  const auto file = open("simulated boot 2");
  must(file->add_layer(chunks, 0));
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_FALSE(file->complete());
  EXPECT_TRUE(file->on_disk({0, info().plain_size}));
  EXPECT_TRUE(file->has_candidates({0, kPage}));
  file->confirm({0, kPage});
  EXPECT_TRUE(file->present(0, kPage));
  EXPECT_FALSE(file->has_candidates({0, kPage}));
  file->distrust({kPage, kPage});
  EXPECT_FALSE(file->on_disk({kPage, kPage}));
}

TEST_F(PackFileTest, CandidatesOutliveAProcessThatDidNotLookAtThem) {
  full();
  open("simulated boot 2");
  const auto file = open("simulated boot 2");
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_TRUE(file->on_disk({0, info().plain_size}));
}

TEST_F(PackFileTest, ABitmapBesideAnotherDataFileProvesNothing) {
  full();
  std::filesystem::remove(folder.path() / "x.data");
  const auto file = open();
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_FALSE(file->on_disk({0, kPage}));  // a new file has nothing
}

TEST_F(PackFileTest, ACopyOfTheDataFileIsNotTheDataFile) {
  full();
  std::filesystem::copy_file(folder.path() / "x.data", folder.path() / "copy");
  std::filesystem::rename(folder.path() / "copy", folder.path() / "x.data");
  const auto file = open();
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_TRUE(file->on_disk({0, info().plain_size}));  // worth a look
}

TEST_F(PackFileTest, ATruncatedDataFileHasNothingAndGetsItsLengthBack) {
  full();
  std::filesystem::resize_file(folder.path() / "x.data", kPage);
  const auto file = open();
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "x.data"), info().plain_size);
}

TEST_F(PackFileTest, AFileThatIsCutWhileOpenIsCorruptAtItsReader) {
  const auto file = full();
  std::filesystem::resize_file(folder.path() / "x.data", kPage);
  std::string bytes(kPage, '?');
  EXPECT_EQ(file->read(kPage, bytes.data(), bytes.size()).error().code, ErrorCode::corrupt);
}

TEST_F(PackFileTest, ABrokenBitmapCostsWhatItKnewAndNoMore) {
  full();
  must(write_file_atomic(folder.path() / "x.present", "garbage"));
  const auto file = open();
  EXPECT_FALSE(file->present(0, 1));
  must(file->store(0, "x"));
  EXPECT_TRUE(file->present(0, 1));
}

TEST_F(PackFileTest, ADescriptorFromAnEarlierLifeIsUsedInsteadOfThePath) {
  auto before = full();
  UniqueFd kept(::fcntl(before->data_fd(), F_DUPFD_CLOEXEC, 0));
  before.reset();
  const int number = kept.get();
  const auto file = must(PackFile::open(info(), place(), std::move(kept)));
  EXPECT_EQ(file->data_fd(), number);
  EXPECT_TRUE(file->present(0, info().plain_size));
}

TEST_F(PackFileTest, ADiskThatFailsToWriteBackIsNotBelieved) {
  const auto file = full();
  disk.sync_error = EIO;
  EXPECT_EQ(file->sync().error().code, ErrorCode::internal);
  EXPECT_FALSE(file->complete());
  EXPECT_FALSE(file->present(0, 1));
  EXPECT_TRUE(file->on_disk({0, kPage}));  // to be looked at again
  disk.sync_error = 0;
  EXPECT_TRUE(file->sync().has_value());
}

TEST_F(PackFileTest, TheHolderSeesABitInItsOwnMapping) {
  const auto file = open();
  void* mapped = ::mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, file->present_fd(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const auto* bits = static_cast<const unsigned char*>(mapped) + kPresentHeaderBytes;
  EXPECT_EQ(bits[1], 0);
  must(file->store(9 * kPage, "x"));
  EXPECT_EQ(bits[1], 1 << 1);
  ::munmap(mapped, 2 * kPage);
}

TEST_F(PackFileTest, LayersThatContradictEachOtherAreNotBothRegistered) {
  // The same pack digest in a layer of another layout cannot be built: told here by another index's chunks.
  const auto other = layers.build({{"a", testing::noise(10'000, 1)}, {"z", testing::noise(5'000, 9)}});
  const auto file = open();
  must(file->add_layer(chunks, 0));
  must(file->add_layer(chunks, 0));  // twice is no contradiction
  PackChunks table;
  must(table.add(chunks, 0));
  EXPECT_EQ(table.add(std::make_shared<const LayerChunks>(other, "acme"), 0).error().code, ErrorCode::corrupt);
  EXPECT_EQ(table.layer_count(), 1u);
  EXPECT_TRUE(table.covers({0, info().plain_size}));
}

TEST_F(PackFileTest, AChunkStaysKnownUntilTheLastLayerWithItIsGone) {
  const auto again = std::make_shared<const LayerChunks>(index, "beta");
  const auto file = open();
  must(file->add_layer(chunks, 0));
  must(file->add_layer(again, 0));
  EXPECT_THAT(file->scopes(), ElementsAre(image::StoreScope::workspace("acme"), image::StoreScope::workspace("beta"),
                                          image::StoreScope::shared()));
  file->remove_layer(*chunks);
  EXPECT_TRUE(file->covers({0, info().plain_size}));
  EXPECT_THAT(file->scopes(), ElementsAre(image::StoreScope::workspace("beta"), image::StoreScope::shared()));
  file->remove_layer(*again);
  EXPECT_THAT(file->scopes(), IsEmpty());
}

TEST_F(PackFileTest, ManyThreadsStoreAndTheCountIsRight) {
  const auto file = open();
  must(file->add_layer(chunks, 0));
  const auto all = file->chunks({0, info().plain_size});
  std::vector<std::string> contents;
  for (const auto& chunk : all) contents.push_back(plain(chunk));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < all.size(); ++i) must(file->store(all[i].plain_offset, contents[i]));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(file->complete());
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(read(*file, all[i].plain_offset, contents[i].size()), contents[i]);
}

}  // namespace
}  // namespace hearth::mount
