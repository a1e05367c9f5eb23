// What the dynamic linker and the start-up code of an ELF file will read of it, from the few bytes that say so. Pure
// and total: any bytes may come. 64-bit, little-endian; of other files nothing is said.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Bytes of a file.
struct FileRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t end() const { return offset + length; }
  bool operator==(const FileRange&) const = default;
};

/// Where loadable parts lie in the file and in memory.
struct ElfSegment {
  FileRange file;
  uint64_t address = 0;
  bool writable = false;
  bool executable = false;
};

struct ElfHead {
  std::vector<ElfSegment> loads;
  FileRange dynamic;      // length 0: none
  FileRange interpreter;  // the name of the program's interpreter, with its zero; length 0: none
  uint64_t load_end = 0;  // of the last loadable byte: what follows (symbols for debuggers) is not read
};

inline constexpr uint64_t kElfHeadBytes = 4096;
inline constexpr uint64_t kMaxDynamicBytes = 64 * 1024;
/// Relocations that are looked through for start-up code. TensorFlow's largest library has 18 MiB of them.
inline constexpr uint64_t kMaxRelocationBytes = uint64_t{32} << 20;
inline constexpr uint64_t kMaxInitArrayBytes = uint64_t{1} << 20;

/// From the first bytes of the file (up to kElfHeadBytes). nullopt: no such ELF file.
std::optional<ElfHead> parse_elf_head(std::string_view bytes, uint64_t file_size);

/// File offsets, not addresses.
struct ElfDynamic {
  FileRange tables;       // from the first to the last table that the linker reads in one segment; length 0: none
  FileRange strings;      // DT_STRTAB
  FileRange relocations;  // DT_RELA
  FileRange init_array;   // addresses of start-up functions, where they are not relocated by `relocations`
  uint64_t init_address = 0;
  std::vector<uint64_t> needed;  // offsets in `strings` of the names of libraries
};

/// From the bytes of ElfHead::dynamic.
ElfDynamic parse_elf_dynamic(std::string_view bytes, const ElfHead& head);

/// A name in the strings, from the bytes at its offset (a few hundred are enough). Empty: none.
std::string_view elf_string(std::string_view bytes);

/// File offsets of the functions that run when the file is loaded: what the relocations put into the init array,
/// sorted, one a page.
std::vector<uint64_t> init_functions_of_relocations(std::string_view relocations, const ElfDynamic& dynamic,
                                                    const ElfHead& head);
/// The same of an init array that is not relocated, or relocated in place.
std::vector<uint64_t> init_functions_of_array(std::string_view array, const ElfHead& head);

}  // namespace hearth::mount
