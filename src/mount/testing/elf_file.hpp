// Small ELF libraries for tests, with all that the dynamic linker looks at.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount::testing {

/// Tables in the first segment, code in the second, data in a writable third; behind them what only a debugger reads.
struct ElfFile {
  std::vector<std::string> needed = {"libneeded.so.1", "libother.so"};
  uint64_t code = 0x2000;  // file offsets
  uint64_t code_bytes = 0x5000;
  uint64_t data = 0x8000;
  uint64_t data_bytes = 0x1000;
  uint64_t debug_bytes = 0x4000;
  std::vector<uint64_t> init_functions = {0x3456, 0x10};  // offsets in the code

  static constexpr uint64_t kStrings = 0x300, kSymbols = 0x500, kRelocations = 0x600, kTablesEnd = 0x1000;
  uint64_t dynamic() const { return data + 0x100; }
  uint64_t init_array() const { return data + 0x800; }
  uint64_t end() const { return data + data_bytes; }
  uint64_t relocation_bytes() const { return (init_functions.size() + 1) * sizeof(Elf64_Rela); }

  /// As linkers do: addresses run ahead of offsets by a page.
  static uint64_t address(uint64_t offset) { return offset < kTablesEnd ? offset : offset + 0x1000; }

  std::string bytes() const {
    std::string file(end() + debug_bytes, '\0');
    put_headers(file);
    std::string strings(1, '\0');
    std::vector<Elf64_Dyn> entries;
    for (const std::string& name : needed) {
      entries.push_back({DT_NEEDED, {strings.size()}});
      strings += name + '\0';
    }
    std::memcpy(file.data() + kStrings, strings.data(), strings.size());
    entries.insert(entries.end(), {{DT_STRTAB, {kStrings}},
                                   {DT_STRSZ, {strings.size()}},
                                   {DT_SYMTAB, {kSymbols}},
                                   {DT_RELA, {kRelocations}},
                                   {DT_RELASZ, {relocation_bytes()}},
                                   {DT_INIT_ARRAY, {address(init_array())}},
                                   {DT_INIT_ARRAYSZ, {init_functions.size() * 8}},
                                   {DT_NULL, {0}},
                                   {DT_NEEDED, {1}}});
    for (size_t i = 0; i < entries.size(); ++i) put(file, dynamic() + i * sizeof(Elf64_Dyn), entries[i]);
    for (size_t i = 0; i < init_functions.size(); ++i) {
      put(file, kRelocations + i * sizeof(Elf64_Rela),
          Elf64_Rela{address(init_array()) + i * 8, R_X86_64_RELATIVE,
                     static_cast<Elf64_Sxword>(address(code + init_functions[i]))});
    }
    put(file, kRelocations + init_functions.size() * sizeof(Elf64_Rela),
        Elf64_Rela{address(data), R_X86_64_RELATIVE, static_cast<Elf64_Sxword>(address(code))});
    return file;
  }

 private:
  template <class T>
  static void put(std::string& file, uint64_t offset, const T& value) {
    std::memcpy(file.data() + offset, &value, sizeof value);
  }
  static Elf64_Phdr segment(uint32_t type, uint32_t flags, uint64_t offset, uint64_t size) {
    return {.p_type = type,
            .p_flags = flags,
            .p_offset = offset,
            .p_vaddr = address(offset),
            .p_paddr = address(offset),
            .p_filesz = size,
            .p_memsz = size,
            .p_align = 0x1000};
  }
  void put_headers(std::string& file) const {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 4;
    put(file, 0, header);
    const Elf64_Phdr parts[] = {segment(PT_LOAD, PF_R, 0, kTablesEnd), segment(PT_LOAD, PF_R | PF_X, code, code_bytes),
                                segment(PT_LOAD, PF_R | PF_W, data, data_bytes),
                                segment(PT_DYNAMIC, PF_R | PF_W, dynamic(), 0x200)};
    for (size_t i = 0; i < 4; ++i) put(file, sizeof header + i * sizeof(Elf64_Phdr), parts[i]);
  }
};

}  // namespace hearth::mount::testing
