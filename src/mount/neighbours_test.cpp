#include "mount/neighbours.hpp"

#include "base/little_endian.hpp"
#include "mount/prefetch_queue.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/elf_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

namespace hearth::mount {
namespace {

using testing::ElfFile;
using testing::Files;
using ::testing::IsEmpty;
using testing::must;
using testing::noise;

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// A compiled Python module that uses these names, as Python 3.11 writes it.
std::string pyc(std::initializer_list<std::string_view> names) {
  std::string out;
  append_le<uint16_t>(out, 3495);
  out += "\r\n" + std::string(12, '\0') + "c" + std::string(20, '\0');
  out += "s" + std::string(4, '\0') + std::string(")\0)", 3);
  out += static_cast<char>(names.size());
  for (const auto name : names) {
    out += 'z';
    out += static_cast<char>(name.size());
    out += name;
  }
  return out;
}

/// A layer, and a reader who is shown what he asks for at once.
class NeighboursTest : public ::testing::Test {
 protected:
  void start(const Files& files, const NeighbourLimits& limits = {}) {
    files_ = files;
    start(layers_.build(files), limits);
  }
  void start(std::shared_ptr<const image::LayerIndex> index, const NeighbourLimits& limits = {}) {
    owners_ = std::make_shared<const ContentOwners>(
        must(ContentOwners::of(std::make_shared<const LayerChunks>(std::move(index), "acme"))));
    neighbours_ = std::make_unique<Neighbours>(owners_, limits);
  }
  uint32_t chunk_of(const std::string& path, uint64_t offset = 0) const {
    const auto file = owners_->index().lookup(path).value();
    return chunks_of_range(owners_->index(), file.number, {offset, 1}).at(0);
  }
  /// Follows the advice to its end, with every look answered.
  void follow(Neighbours::Advice advice) {
    for (const uint32_t chunk : advice.chunks) EXPECT_TRUE(advised_.insert(chunk).second) << "advised twice";
    for (const auto& look : advice.looks) {
      const std::string& content = files_.at(owners_->path(look.inode).substr(1));
      follow(neighbours_->shown(look, content.substr(look.range.offset, look.range.length)));
    }
  }
  void touch(const std::string& path, uint64_t offset = 0) { follow(neighbours_->touched(chunk_of(path, offset))); }
  bool is_advised(const std::string& path, uint64_t offset = 0) const {
    return advised_.contains(chunk_of(path, offset));
  }

  testing::LayerStore layers_;
  Files files_;
  std::shared_ptr<const ContentOwners> owners_;
  std::unique_ptr<Neighbours> neighbours_;
  std::set<uint32_t> advised_;
};

constexpr const char* kPackages = "usr/local/lib/python3.11/dist-packages/";
constexpr const char* kLibrary = "usr/lib/python3.11/";

/// What nobody imports has content of its own: equal content is one chunk.
Files python_tree() {
  const std::string packages = kPackages;
  const std::string library = kLibrary;
  return {{packages + "big/__pycache__/__init__.cpython-311.pyc", pyc({"os", "part", "function", "big.deep.module"})},
          {packages + "big/__pycache__/part.cpython-311.pyc", pyc({"json", "_native"})},
          {packages + "big/__pycache__/part.cpython-311.opt-1.pyc", pyc({"never"})},
          {packages + "big/__pycache__/unused.cpython-311.pyc", pyc({"nothing"})},
          {packages + "big/_native.cpython-311-x86_64-linux-gnu.so", noise(5000, 1)},
          {packages + "big/deep/__init__.py", "from . import sibling\n"},
          {packages + "big/deep/module.py", "import big.part\n"},
          {packages + "big/deep/sibling.py", "x = 1\n"},
          {library + "__pycache__/os.cpython-311.pyc", pyc({"stat"})},
          {library + "__pycache__/stat.cpython-311.pyc", pyc({})},
          {library + "json/__pycache__/__init__.cpython-311.pyc", pyc({"decoder", "JSONDecoder"})},
          {library + "json/__pycache__/decoder.cpython-311.pyc", pyc({})},
          {library + "__pycache__/never.cpython-311.pyc", pyc({"nothing", "at_all"})},
          {"app/main.py", "import big\n"}};
}

TEST_F(NeighboursTest, AScriptLeadsToAllThatItsImportsImport) {
  start(python_tree());
  touch("app/main.py");
  const std::string packages = kPackages;
  const std::string library = kLibrary;
  for (const auto& path :
       {packages + "big/__pycache__/__init__.cpython-311.pyc", packages + "big/__pycache__/part.cpython-311.pyc",
        packages + "big/_native.cpython-311-x86_64-linux-gnu.so", packages + "big/deep/__init__.py",
        packages + "big/deep/module.py", packages + "big/deep/sibling.py", library + "__pycache__/os.cpython-311.pyc",
        library + "__pycache__/stat.cpython-311.pyc", library + "json/__pycache__/__init__.cpython-311.pyc",
        library + "json/__pycache__/decoder.cpython-311.pyc"}) {
    EXPECT_TRUE(is_advised(path)) << path;
  }
  EXPECT_FALSE(is_advised(packages + "big/__pycache__/unused.cpython-311.pyc"));
  EXPECT_FALSE(is_advised(library + "__pycache__/never.cpython-311.pyc"));
}

TEST_F(NeighboursTest, WhatIsReadAlreadyIsNotAdvised) {
  start(python_tree());
  touch("app/main.py");
  EXPECT_FALSE(is_advised("app/main.py"));
  const auto before = advised_;
  touch(std::string(kPackages) + "big/__pycache__/part.cpython-311.pyc");
  touch("app/main.py");
  EXPECT_EQ(advised_, before);
  EXPECT_GT(neighbours_->counts().used_bytes, 0U);
}

TEST_F(NeighboursTest, NamesOfAnotherLayersFilesAreFoundHere) {
  start(python_tree());
  follow(neighbours_->imported({"json", "no_such_module"}));
  EXPECT_TRUE(is_advised(std::string(kLibrary) + "json/__pycache__/decoder.cpython-311.pyc"));
}

TEST_F(NeighboursTest, CompiledExtensionsAndPicklesNameTheirModules) {
  const std::string packages = kPackages;
  const std::string module = packages + "kit/inner.py";
  const std::string other = packages + "kit/other.py";
  std::string extension = ElfFile().bytes();
  extension.replace(ElfFile().code, 20, std::string("\0kit.inner.function\0", 20));
  const Files files = {{packages + "kit/_fast.cpython-311-x86_64-linux-gnu.so", extension},
                       {module, "x = 1\n"},
                       {other, "y = 2\n"},
                       {"app/model.pickle", std::string("\x80\4\x8c\tkit.other\x8c\1C", 16)}};
  start(files);
  touch(packages + "kit/_fast.cpython-311-x86_64-linux-gnu.so");
  EXPECT_TRUE(is_advised(module));
  EXPECT_FALSE(is_advised(other));
  touch("app/model.pickle");
  EXPECT_TRUE(is_advised(other));
}

TEST_F(NeighboursTest, SubpackagesAreFetchedAndNotLookedInto) {
  const std::string packages = kPackages;
  start({{packages + "kit/__init__.py", "# a kit"},
         {packages + "kit/part/__init__.py", "import json\n"},
         {packages + "kit/part/more.py", "1"},
         {"usr/lib/python3.11/json/__init__.py", "2"}});
  follow(neighbours_->imported({"kit"}));
  EXPECT_TRUE(is_advised(packages + "kit/part/__init__.py"));
  EXPECT_FALSE(is_advised("usr/lib/python3.11/json/__init__.py"));
  touch(packages + "kit/part/__init__.py");
  EXPECT_TRUE(is_advised("usr/lib/python3.11/json/__init__.py"));
}

TEST_F(NeighboursTest, WhoReadsTheMetadataOfOneDistributionReadsThatOfAll) {
  const std::string packages = kPackages;
  start({{packages + "a-1.dist-info/entry_points.txt", "a"},
         {packages + "a-1.dist-info/RECORD", "files of a"},
         {packages + "b-2.dist-info/entry_points.txt", "b"},
         {packages + "b-2.dist-info/RECORD", "files of b"}});
  touch(packages + "a-1.dist-info/entry_points.txt");
  EXPECT_TRUE(is_advised(packages + "b-2.dist-info/entry_points.txt"));
  EXPECT_FALSE(is_advised(packages + "b-2.dist-info/RECORD"));
}

TEST_F(NeighboursTest, AfterAFewFilesOfSourceAllOfThePackageAreExpected) {
  const std::string packages = kPackages;
  Files files;
  for (const char* name : {"a", "b", "c", "d"}) {
    files[packages + "kit/__pycache__/" + name + ".cpython-311.pyc"] = pyc({name});
    files[packages + "kit/" + name + ".py"] = std::string("# source of ") + name;
  }
  files[packages + "kit/not_imported.py"] = "# nobody's";
  start(files);
  follow(neighbours_->imported({"kit.a", "kit.b", "kit.c", "kit.d"}));
  touch(packages + "kit/a.py");
  touch(packages + "kit/b.py");
  EXPECT_FALSE(is_advised(packages + "kit/d.py"));
  touch(packages + "kit/c.py");
  EXPECT_TRUE(is_advised(packages + "kit/d.py"));
  EXPECT_FALSE(is_advised(packages + "kit/not_imported.py"));
}

/// A library of 12 MiB: its tables, five MiB of code, data in the end.
ElfFile large_library() {
  ElfFile library;
  library.code = 2 * kMiB;
  library.code_bytes = 8 * kMiB;
  library.data = 10 * kMiB;
  library.data_bytes = 2 * kMiB;
  library.debug_bytes = 3 * kMiB;
  library.init_functions = {5 * kMiB};  // in the chunk at 7 MiB of the file
  return library;
}

/// The library, and noise in its code and behind it, so that no two chunks are equal.
std::string content_of(const ElfFile& library) {
  std::string file = library.bytes();
  const std::string code = noise(library.code_bytes, 5);
  code.copy(file.data() + library.code, code.size());
  const std::string data = noise(library.data_bytes - kMiB, 6);
  data.copy(file.data() + library.data + kMiB, data.size());
  const std::string debug = noise(library.debug_bytes, 7);
  debug.copy(file.data() + library.end(), debug.size());
  return file;
}

TEST_F(NeighboursTest, ALibraryLeadsToItsTablesItsDataItsStartUpCodeAndWhatItNeeds) {
  const ElfFile library = large_library();
  start({{"lib/libbig.so", content_of(library)},
         {"lib/libneeded.so.1", ElfFile{.needed = {"libthird.so"}}.bytes()},
         {"lib/libthird.so", ElfFile{.needed = {}, .init_functions = {0x20}}.bytes()},
         {"lib/libalone.so", noise(100, 1)}},
        {.whole_library_bytes = kMiB});
  touch("lib/libbig.so");
  EXPECT_TRUE(is_advised("lib/libbig.so", library.data));
  EXPECT_TRUE(is_advised("lib/libbig.so", library.data + kMiB));
  EXPECT_TRUE(is_advised("lib/libbig.so", library.code + library.init_functions[0]));
  EXPECT_TRUE(is_advised("lib/libneeded.so.1"));
  EXPECT_TRUE(is_advised("lib/libthird.so"));
  EXPECT_FALSE(is_advised("lib/libbig.so", library.code)) << "code that nobody is known to run";
  EXPECT_FALSE(is_advised("lib/libbig.so", library.end())) << "what only a debugger reads";
  EXPECT_FALSE(is_advised("lib/libalone.so"));
}

TEST_F(NeighboursTest, ASmallLibraryIsFetchedWhole) {
  const ElfFile library = large_library();
  start({{"lib/libbig.so", content_of(library)}}, {.waste_bytes = 64 * kMiB, .whole_library_bytes = 16 * kMiB});
  touch("lib/libbig.so");
  for (uint64_t offset = kMiB; offset < library.end(); offset += kMiB) {
    EXPECT_TRUE(is_advised("lib/libbig.so", offset) || chunk_of("lib/libbig.so", offset) == chunk_of("lib/libbig.so"))
        << offset;
  }
  EXPECT_FALSE(is_advised("lib/libbig.so", library.end()));
}

TEST_F(NeighboursTest, ReadsInUnknownCodeWidenAroundThem) {
  const ElfFile library = large_library();
  start({{"lib/libbig.so", content_of(library)}}, {.whole_library_bytes = kMiB});
  touch("lib/libbig.so");
  touch("lib/libbig.so", 3 * kMiB);
  EXPECT_TRUE(is_advised("lib/libbig.so", 2 * kMiB));
  EXPECT_TRUE(is_advised("lib/libbig.so", 4 * kMiB));
  EXPECT_FALSE(is_advised("lib/libbig.so", 5 * kMiB));
  touch("lib/libbig.so", 8 * kMiB);
  EXPECT_TRUE(is_advised("lib/libbig.so", 6 * kMiB));
  EXPECT_FALSE(is_advised("lib/libbig.so", library.end()));
}

TEST_F(NeighboursTest, ASmallFileIsFetchedWholeAndOfAnArchiveItsEnd) {
  start({{"data/table", noise(3 * kMiB, 1)},
         {"data/weights.npz", noise(6 * kMiB, 2)},
         {"data/large", noise(6 * kMiB, 3)}});
  touch("data/table");
  EXPECT_TRUE(is_advised("data/table", 2 * kMiB));
  touch("data/weights.npz");
  EXPECT_TRUE(is_advised("data/weights.npz", 6 * kMiB - 1));
  EXPECT_FALSE(is_advised("data/weights.npz", 3 * kMiB));
  touch("data/large");
  EXPECT_FALSE(is_advised("data/large", 5 * kMiB));
}

TEST_F(NeighboursTest, AdviceThatIsNotTakenEnds) {
  Files files{{"app/main.py", "import a0\n"}};
  for (int i = 0; i < 20; ++i) {
    files["usr/lib/python3.11/a" + std::to_string(i) + ".py"] =
        "import a" + std::to_string(i + 1) + "\n#" + noise(200'000, static_cast<uint32_t>(i));
  }
  start(files, {.waste_bytes = 1'000'000});
  follow(neighbours_->touched(chunk_of("app/main.py")));
  EXPECT_LE(neighbours_->counts().advised_bytes, 1'000'100U);
  EXPECT_GT(neighbours_->counts().held_back, 0U);
  const auto before = advised_.size();
  touch("usr/lib/python3.11/a0.py");
  EXPECT_GT(advised_.size(), before) << "who reads what was advised gets more";
}

TEST_F(NeighboursTest, LinksOfLibrariesAreFollowed) {
  const testing::TemporaryFolder folder;
  files_ = {{"lib/libz.so.1.2", ElfFile{.needed = {}}.bytes()},
            {"lib/user.so", ElfFile{.needed = {"libz.so.1"}}.bytes()}};
  std::filesystem::create_directory(folder.path() / "lib");
  for (const auto& [path, content] : files_) must(write_file_atomic(folder.path() / path, content));
  std::filesystem::create_symlink("libz.so.1.2", folder.path() / "lib/libz.so.1");
  const auto made =
      must(image::build_layer_from_directory(layers_.store(), image::StoreScope::workspace("acme"), folder.path()));
  start(must(image::LayerReader::open(layers_.store(), "acme", made.digest)).shared_index());
  touch("lib/user.so");
  EXPECT_TRUE(is_advised("lib/libz.so.1.2"));
}

TEST_F(NeighboursTest, NonsenseLeadsNowhere) {
  start({{"lib/odd.so", noise(10'000, 1)}, {"usr/lib/python3.11/odd.pyc", noise(10'000, 2)}, {"x/empty.so", ""}});
  touch("lib/odd.so");
  touch("usr/lib/python3.11/odd.pyc");
  EXPECT_THAT(advised_, IsEmpty());
}

// ---- PrefetchQueue -----------------------------------------------------------------------------------------

class PrefetchQueueTest : public NeighboursTest {
 protected:
  void SetUp() override {
    Files files;
    for (int i = 0; i < 9; ++i) files["f" + std::to_string(i)] = noise(10'000, static_cast<uint32_t>(i));
    start(files);
    queue_ = std::make_unique<PrefetchQueue>(owners_->shared_chunks(), PrefetchLimits{.gap_bytes = 15'000});
  }
  uint32_t file(int i) const { return chunk_of("f" + std::to_string(i)); }
  static bool nothing_is_present(uint32_t) { return false; }
  void add(std::vector<uint32_t> chunks, std::vector<Neighbours::Look> looks = {}) {
    queue_->add({std::move(chunks), std::move(looks)}, nothing_is_present);
  }
  Neighbours::Look look_at(int i) const {
    return {Neighbours::Look::For::python, owners_->index().lookup("f" + std::to_string(i))->number, {0, 10'000}};
  }

  std::unique_ptr<PrefetchQueue> queue_;
};

TEST_F(PrefetchQueueTest, NeighboursAreFetchedTogetherAndSmallGapsWithThem) {
  add({file(0), file(2), file(6)});
  const auto first = queue_->next().value();
  EXPECT_EQ(first.chunks, (std::vector<uint32_t>{file(0), file(1), file(2)}));
  const auto begin = owners_->index().location(file(0)).plain_offset;
  EXPECT_EQ(first.plain.offset, begin);
  EXPECT_GE(first.plain.length, 30'000U);
  EXPECT_EQ(queue_->next()->chunks, (std::vector<uint32_t>{file(6)}));
  EXPECT_FALSE(queue_->next());
}

TEST_F(PrefetchQueueTest, TheNewestAdviceComesFirst) {
  add({file(0)});
  add({file(8), file(4)});
  EXPECT_EQ(queue_->next()->chunks, (std::vector<uint32_t>{file(8)}));
  EXPECT_EQ(queue_->next()->chunks, (std::vector<uint32_t>{file(4)}));
  EXPECT_EQ(queue_->next()->chunks, (std::vector<uint32_t>{file(0)}));
}

TEST_F(PrefetchQueueTest, ALookIsReadyWhenItsChunksHaveLanded) {
  add({file(3)}, {look_at(3), look_at(5)});
  EXPECT_THAT(queue_->ready(), IsEmpty());
  const auto run = queue_->next().value();
  EXPECT_EQ(run.chunks, (std::vector<uint32_t>{file(3), file(4), file(5)})) << "a look's chunks are fetched for it";
  queue_->landed(run, PrefetchQueue::Landed::present);
  EXPECT_EQ(queue_->ready().size(), 2U);
  EXPECT_THAT(queue_->ready(), IsEmpty()) << "each once";
}

TEST_F(PrefetchQueueTest, WhatIsPresentIsNotFetchedAndLookedAtAtOnce) {
  queue_->add({{file(3)}, {look_at(3)}}, [](uint32_t) { return true; });
  EXPECT_FALSE(queue_->next());
  EXPECT_EQ(queue_->ready().size(), 1U);
}

TEST_F(PrefetchQueueTest, WhatCannotBeHadIsNotLookedAt) {
  add({file(3)}, {look_at(3)});
  queue_->landed(queue_->next().value(), PrefetchQueue::Landed::failed);
  EXPECT_THAT(queue_->ready(), IsEmpty());
  add({file(3)});
  EXPECT_FALSE(queue_->next()) << "nor asked for again";
}

}  // namespace
}  // namespace hearth::mount
