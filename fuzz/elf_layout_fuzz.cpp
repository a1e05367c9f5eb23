// Any bytes as an ELF file. Whatever it says of itself, every range it leads to lies in the file.
#include "base/result.hpp"
#include "mount/elf_layout.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hearth::mount::FileRange;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto head = hearth::mount::parse_elf_head(file.substr(0, hearth::mount::kElfHeadBytes), file.size());
  if (!head) return 0;
  const auto check = [&file](const FileRange& range) {
    CHECK_PROMISE(range.length == 0 || (range.offset < file.size() && range.length <= file.size() - range.offset));
    return file.substr(range.offset < file.size() ? range.offset : 0, range.length);
  };
  for (const auto& segment : head->loads) check(segment.file);
  CHECK_PROMISE(head->load_end <= file.size());
  check(head->interpreter);
  const auto dynamic = hearth::mount::parse_elf_dynamic(check(head->dynamic), *head);
  check(dynamic.tables);
  const auto strings = check(dynamic.strings);
  for (const uint64_t offset : dynamic.needed) {
    if (offset < strings.size()) CHECK_PROMISE(hearth::mount::elf_string(strings.substr(offset)).size() < 256);
  }
  for (const uint64_t offset :
       hearth::mount::init_functions_of_relocations(check(dynamic.relocations), dynamic, *head)) {
    CHECK_PROMISE(offset < file.size());
  }
  for (const uint64_t offset : hearth::mount::init_functions_of_array(check(dynamic.init_array), *head)) {
    CHECK_PROMISE(offset < file.size());
  }
  return 0;
}
