#include "mount/elf_layout.hpp"

#include "base/little_endian.hpp"
#include "mount/testing/elf_file.hpp"

#include <gtest/gtest.h>

#include <elf.h>

namespace hearth::mount {
namespace {

struct Library : testing::ElfFile {
  const std::string file = bytes();

  ElfHead head() const { return parse_elf_head(std::string_view(file).substr(0, kElfHeadBytes), file.size()).value(); }
  ElfDynamic parsed() const { return parse_elf_dynamic(part(head().dynamic), head()); }
  std::string_view part(const FileRange& range) const {
    return std::string_view(file).substr(range.offset, range.length);
  }
};

TEST(ElfLayout, HeadSaysWhereTheLoadablePartsLie) {
  const Library library;
  const ElfHead head = library.head();
  ASSERT_EQ(head.loads.size(), 3U);
  EXPECT_EQ(head.loads[1].file, (FileRange{library.code, 0x5000}));
  EXPECT_TRUE(head.loads[1].executable);
  EXPECT_TRUE(head.loads[2].writable);
  EXPECT_EQ(head.dynamic, (FileRange{library.dynamic(), 0x200}));
  EXPECT_EQ(head.load_end, library.end()) << "what only a debugger reads is no part of it";
  EXPECT_EQ(head.interpreter.length, 0U);
}

TEST(ElfLayout, DynamicSectionNamesLibrariesAndTables) {
  const Library library;
  const ElfDynamic dynamic = library.parsed();
  ASSERT_EQ(dynamic.needed.size(), 2U) << "nothing counts behind the end of the list";
  EXPECT_EQ(elf_string(library.part(dynamic.strings).substr(dynamic.needed[0])), "libneeded.so.1");
  EXPECT_EQ(elf_string(library.part(dynamic.strings).substr(dynamic.needed[1])), "libother.so");
  EXPECT_EQ(dynamic.tables, (FileRange{Library::kStrings, Library::kRelocations + 72 - Library::kStrings}));
  EXPECT_EQ(dynamic.init_array, (FileRange{library.init_array(), 16}));
}

TEST(ElfLayout, RelocationsTellTheStartUpFunctions) {
  const Library library;
  const ElfDynamic dynamic = library.parsed();
  EXPECT_EQ(init_functions_of_relocations(library.part(dynamic.relocations), dynamic, library.head()),
            (std::vector<uint64_t>{library.code + 0x10, library.code + 0x3456}));
}

TEST(ElfLayout, AnArrayThatIsNotRelocatedTellsThemItself) {
  const Library library;
  std::string array;
  for (const uint64_t address : {library.code + 0x1000, uint64_t{0}, library.code + 0x1010, uint64_t{1} << 60}) {
    append_le<uint64_t>(array, address);
  }
  EXPECT_EQ(init_functions_of_array(array, library.head()), (std::vector<uint64_t>{library.code})) << "one a page";
}

TEST(ElfLayout, WhatIsNoSuchFileIsNone) {
  const Library library;
  std::string other = library.file.substr(0, kElfHeadBytes);
  other[EI_CLASS] = ELFCLASS32;
  EXPECT_FALSE(parse_elf_head(other, library.file.size()));
  EXPECT_FALSE(parse_elf_head("", 0));
  EXPECT_FALSE(parse_elf_head("#!/bin/sh\n", 10));
  EXPECT_FALSE(parse_elf_head(std::string_view(library.file).substr(0, 100), library.file.size())) << "headers are cut";
}

TEST(ElfLayout, PartsBeyondTheFileAreCut) {
  const Library library;
  const auto head = parse_elf_head(std::string_view(library.file).substr(0, kElfHeadBytes), library.code + 0x100);
  ASSERT_EQ(head->loads.size(), 2U);
  EXPECT_EQ(head->loads[1].file, (FileRange{library.code, 0x100}));
  EXPECT_EQ(head->dynamic.length, 0U);
}

TEST(ElfLayout, ANameEndsAtAZeroOrIsNone) {
  EXPECT_EQ(elf_string(std::string("libc.so.6") + '\0' + "rest"), "libc.so.6");
  EXPECT_EQ(elf_string("no end"), "");
  EXPECT_EQ(elf_string(std::string(300, 'x') + '\0'), "");
}

}  // namespace
}  // namespace hearth::mount
