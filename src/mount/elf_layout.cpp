#include "mount/elf_layout.hpp"

#include "base/little_endian.hpp"

#include <elf.h>

#include <algorithm>
#include <cstddef>
#include <map>

namespace hearth::mount {

namespace {

constexpr size_t kMaxProgramHeaders = 128;
constexpr uint64_t kPage = 4096;
constexpr size_t kMaxNeeded = 512;
constexpr size_t kMaxNameBytes = 255;

/// All of these structures are read byte by byte where they lie: nothing is aligned in a file that anybody sent.
template <class T>
T load(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// The part of the range that lies in the file.
FileRange within(uint64_t offset, uint64_t length, uint64_t file_size) {
  if (offset >= file_size) return {};
  return {offset, std::min(length, file_size - offset)};
}

/// File offset of an address; nullopt when it is not loaded from the file.
std::optional<uint64_t> offset_of(uint64_t address, const ElfHead& head) {
  for (const ElfSegment& segment : head.loads) {
    if (address >= segment.address && address - segment.address < segment.file.length) {
      return segment.file.offset + (address - segment.address);
    }
  }
  return std::nullopt;
}

/// A table at an address, cut to the end of its segment.
FileRange table_at(uint64_t address, uint64_t length, const ElfHead& head) {
  const auto begin = offset_of(address, head);
  if (!begin) return {};
  for (const ElfSegment& segment : head.loads) {
    if (*begin >= segment.file.offset && *begin < segment.file.end()) {
      return {*begin, std::min(length, segment.file.end() - *begin)};
    }
  }
  return {};
}

std::vector<uint64_t> one_a_page(std::vector<uint64_t> offsets) {
  std::ranges::sort(offsets);
  const auto last = std::ranges::unique(offsets, [](uint64_t a, uint64_t b) { return a / kPage == b / kPage; }).begin();
  offsets.erase(last, offsets.end());
  return offsets;
}

}  // namespace

std::optional<ElfHead> parse_elf_head(std::string_view bytes, uint64_t file_size) {
  if (bytes.size() < sizeof(Elf64_Ehdr)) return std::nullopt;
  const auto header = load<Elf64_Ehdr>(bytes, 0);
  const bool known = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
                     header.e_ident[EI_DATA] == ELFDATA2LSB && header.e_phentsize == sizeof(Elf64_Phdr);
  if (!known || header.e_phnum > kMaxProgramHeaders) return std::nullopt;
  const uint64_t table_bytes = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phoff > bytes.size() || table_bytes > bytes.size() - header.e_phoff) return std::nullopt;
  ElfHead head;
  for (size_t i = 0; i < header.e_phnum; ++i) {
    const auto entry = load<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
    const FileRange range = within(entry.p_offset, entry.p_filesz, file_size);
    if (entry.p_type == PT_LOAD && range.length > 0) {
      head.loads.push_back({.file = range,
                            .address = entry.p_vaddr,
                            .writable = (entry.p_flags & PF_W) != 0,
                            .executable = (entry.p_flags & PF_X) != 0});
      head.load_end = std::max(head.load_end, range.end());
    }
    if (entry.p_type == PT_DYNAMIC) head.dynamic = {range.offset, std::min(range.length, kMaxDynamicBytes)};
    if (entry.p_type == PT_INTERP) head.interpreter = {range.offset, std::min<uint64_t>(range.length, kPage)};
  }
  return head;
}

ElfDynamic parse_elf_dynamic(std::string_view bytes, const ElfHead& head) {
  std::map<int64_t, uint64_t> values;
  ElfDynamic dynamic;
  for (size_t at = 0; bytes.size() - at >= sizeof(Elf64_Dyn); at += sizeof(Elf64_Dyn)) {
    const auto entry = load<Elf64_Dyn>(bytes, at);
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED) {
      if (dynamic.needed.size() < kMaxNeeded) dynamic.needed.push_back(entry.d_un.d_val);
    } else {
      values.emplace(entry.d_tag, entry.d_un.d_val);
    }
  }
  const auto table = [&values, &head](int64_t address_tag, int64_t size_tag) -> FileRange {
    const auto address = values.find(address_tag);
    const auto size = values.find(size_tag);
    if (address == values.end() || size == values.end()) return {};
    return table_at(address->second, size->second, head);
  };
  dynamic.strings = table(DT_STRTAB, DT_STRSZ);
  dynamic.relocations = table(DT_RELA, DT_RELASZ);
  dynamic.init_array = table(DT_INIT_ARRAY, DT_INIT_ARRAYSZ);
  if (const auto address = values.find(DT_INIT_ARRAY); address != values.end()) dynamic.init_address = address->second;

  // Tables whose size is not told end where another one begins, so the span of all of them has them whole.
  uint64_t begin = UINT64_MAX;
  uint64_t end = 0;
  const auto include = [&begin, &end](const FileRange& range) {
    if (range.length == 0) return;
    begin = std::min(begin, range.offset);
    end = std::max(end, range.end());
  };
  for (const FileRange& range : {dynamic.strings, dynamic.relocations, table(DT_JMPREL, DT_PLTRELSZ)}) include(range);
  for (const int64_t tag : {int64_t{DT_SYMTAB}, int64_t{DT_GNU_HASH}, int64_t{DT_HASH}, int64_t{DT_VERSYM}}) {
    if (const auto found = values.find(tag); found != values.end()) include(table_at(found->second, 1, head));
  }
  if (begin < end) {
    // Never across what lies between two segments.
    const auto home = std::ranges::find_if(head.loads, [begin](const ElfSegment& segment) {
      return begin >= segment.file.offset && begin < segment.file.end();
    });
    if (home != head.loads.end()) dynamic.tables = {begin, std::min(end, home->file.end()) - begin};
  }
  return dynamic;
}

std::string_view elf_string(std::string_view bytes) {
  const size_t end = bytes.find('\0');
  return end == std::string_view::npos || end > kMaxNameBytes ? std::string_view() : bytes.substr(0, end);
}

std::vector<uint64_t> init_functions_of_relocations(std::string_view relocations, const ElfDynamic& dynamic,
                                                    const ElfHead& head) {
  std::vector<uint64_t> offsets;
  for (size_t at = 0; relocations.size() - at >= sizeof(Elf64_Rela); at += sizeof(Elf64_Rela)) {
    const auto entry = load<Elf64_Rela>(relocations, at);
    if (entry.r_offset < dynamic.init_address || entry.r_offset - dynamic.init_address >= dynamic.init_array.length) {
      continue;
    }
    if (const auto offset = offset_of(static_cast<uint64_t>(entry.r_addend), head)) offsets.push_back(*offset);
  }
  return one_a_page(std::move(offsets));
}

std::vector<uint64_t> init_functions_of_array(std::string_view array, const ElfHead& head) {
  std::vector<uint64_t> offsets;
  for (size_t at = 0; array.size() - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
    const auto address = load_le<uint64_t>(array, at);
    if (address == 0) continue;
    if (const auto offset = offset_of(address, head)) offsets.push_back(*offset);
  }
  return one_a_page(std::move(offsets));
}

}  // namespace hearth::mount
