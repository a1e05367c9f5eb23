// Every corner case of OCI layers is imported and compared, name by name, with the tree it must become.
#include "image/import.hpp"

#include "base/process.hpp"
#include "base/random_id.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/image_cases.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;
using testing::ImageCase;
using ::testing::IsEmpty;

const std::vector<ImageCase>& cases() {
  static const std::vector<ImageCase> all = testing::all_image_cases();
  return all;
}

class Workplace {
 public:
  Workplace() : path_(std::filesystem::temp_directory_path() / ("hearth-import-test-" + random_id())) {
    std::filesystem::create_directories(path_ / "store");
    store_ = blob::open_store((path_ / "store").string()).value();
  }
  ~Workplace() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path layout() const { return path_ / "layout"; }
  const std::shared_ptr<blob::ObjectStore>& store() const { return store_; }

  Result<ImageRecord> import(const ImportOptions& options = {}, const std::string& tag = "") const {
    return import_image(store_, StoreScope::workspace("w"), {.path = layout(), .tag = tag}, options);
  }
  LayerReader open(const ImageRecord& record) const {
    return LayerReader::open(store_, "w", record.layer.digest).value();
  }
  bool has_layers() const { return !store_->list("ws/w/layers/").value().empty(); }

 private:
  std::filesystem::path path_;
  std::shared_ptr<blob::ObjectStore> store_;
};

class ImageCaseTest : public ::testing::TestWithParam<size_t> {};

TEST_P(ImageCaseTest, BecomesTheExpectedTreeOrIsRefused) {
  const ImageCase& image = cases()[GetParam()];
  const Workplace work;
  testing::write_layout(work.layout(), {.layers = image.layers});
  const auto record = work.import();
  if (!image.refused.empty()) {
    ASSERT_FALSE(record) << "must be refused";
    EXPECT_THAT(record.error().message, HasSubstr(image.refused));
    EXPECT_FALSE(work.has_layers()) << "a refused image leaves no layer";
    return;
  }
  ASSERT_TRUE(record) << record.error().message;
  const auto reader = work.open(*record);
  const auto actual = testing::read_tree(reader);
  ASSERT_TRUE(actual) << actual.error().message;
  EXPECT_EQ(testing::difference(image.expected, *actual), "");
  if (!image.note.empty()) {
    EXPECT_THAT(record->notes, ::testing::Contains(HasSubstr(image.note)));
  } else {
    EXPECT_THAT(record->notes, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ImageCaseTest, ::testing::Range(size_t{0}, cases().size()),
                         [](const auto& param) { return cases()[param.param].name; });

/// What umoci cannot know or does not keep: times of implied directories, holes; names that are the same inode stay the
/// same.
testing::TreeSpec as_umoci_sees_it(testing::TreeSpec tree) {
  for (auto& [path, node] : tree) {
    node.holes.clear();
    if (node.type == FileType::directory && node.mtime == FileTime{}) node.mtime = {};
    if (path.empty()) node = {.type = FileType::directory};
  }
  return tree;
}

class UmociTest : public ::testing::TestWithParam<size_t> {};

TEST_P(UmociTest, AnIndependentMergerComesToTheSameTree) {
  const auto umoci = find_program("umoci");
  if (!umoci || ::geteuid() != 0) GTEST_SKIP() << "needs umoci and root";
  const ImageCase& image = cases()[GetParam()];
  const Workplace work;
  testing::LayoutSpec spec{.layers = image.layers};
  for (std::string& layer : spec.layers) {
    if (!layer.starts_with("\x1f\x8b")) layer = testing::gzip(layer);
  }
  testing::write_layout(work.layout(), spec);
  const auto done = run_process({.args = {*umoci, "raw", "unpack", "--image", work.layout().string() + ":latest",
                                          (work.path() / "root").string()}});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(done->code, 0) << done->output;
  auto theirs = testing::read_tree(work.path() / "root", testing::Holes::ignore).value();
  for (auto& [path, node] : theirs) {
    const auto expected = image.expected.find(path);
    const bool implied =
        expected != image.expected.end() && node.type == FileType::directory && expected->second.mtime == FileTime{};
    if (implied) node.mtime = {};
  }
  EXPECT_EQ(testing::difference(as_umoci_sees_it(image.expected), as_umoci_sees_it(theirs)), "");
}

std::vector<size_t> judged_cases() {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < cases().size(); ++i) {
    if (cases()[i].judge == testing::Judge::umoci) numbers.push_back(i);
  }
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(Cases, UmociTest, ::testing::ValuesIn(judged_cases()),
                         [](const auto& param) { return cases()[param.param].name; });

}  // namespace
}  // namespace hearth::image
