#include "mount/neighbours.hpp"

#include "mount/python_names.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace hearth::mount {

namespace {

using image::FileType;
using image::InodeView;

constexpr std::string_view kBin = "bin";
constexpr size_t kMaxInterpreters = 2;
/// Bytes that a library's name is looked for in.
constexpr uint64_t kNameBytes = 256;
/// Names of libraries that are needed by one file and looked up.
constexpr size_t kMaxNeeded = 128;
/// Files that come along with another one on a mere guess.
constexpr uint64_t kSmallBytes = 64 * 1024;
/// The directory at the end of a zip archive (npz, whl, keras, pth).
constexpr std::array<std::string_view, 7> kArchives = {".zip", ".npz", ".whl", ".egg", ".keras", ".pt", ".pth"};

/// Read by every program that uses the C library's locales and names, and by the dynamic linker.
constexpr std::array<std::string_view, 7> kEveryProgram = {"etc/ld.so.cache",
                                                           "usr/lib/locale/C.utf8/LC_CTYPE",
                                                           "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
                                                           "usr/lib/aarch64-linux-gnu/gconv/gconv-modules.cache",
                                                           "etc/localtime",
                                                           "usr/share/zoneinfo/Etc/UTC",
                                                           "etc/nsswitch.conf"};

/// What the interpreter imports before it comes to the program, and nearly every program soon after.
constexpr std::array<std::string_view, 27> kEveryStart = {"encodings",
                                                          "encodings.utf_8",
                                                          "encodings.aliases",
                                                          "codecs",
                                                          "io",
                                                          "abc",
                                                          "site",
                                                          "os",
                                                          "stat",
                                                          "posixpath",
                                                          "genericpath",
                                                          "_collections_abc",
                                                          "sitecustomize",
                                                          "importlib",
                                                          "importlib.util",
                                                          "importlib.machinery",
                                                          "collections",
                                                          "functools",
                                                          "types",
                                                          "enum",
                                                          "re",
                                                          "json",
                                                          "socket",
                                                          "threading",
                                                          "traceback",
                                                          "warnings"};

/// What is known of a chunk.
constexpr uint8_t kAdvised = 1;
constexpr uint8_t kHeld = 2;  // would be advised, but for the limit
constexpr uint8_t kTouched = 4;

bool is_library_name(std::string_view name) {
  return name.ends_with(".so") || name.contains(".so.");
}

/// A module of compiled code, as Python names it.
bool is_extension_name(std::string_view name) {
  return name.contains(".cpython-") || name.ends_with(".abi3.so");
}

bool is_pickle_name(std::string_view name) {
  return name.ends_with(".pkl") || name.ends_with(".pickle") || name.ends_with(".joblib");
}

bool is_python_name(std::string_view name) {
  return name.ends_with(".pyc") || name.ends_with(".py");
}

}  // namespace

struct Neighbours::Library {
  ElfHead head;
  ElfDynamic dynamic;
};

Neighbours::Neighbours(std::shared_ptr<const ContentOwners> owners, const NeighbourLimits& limits)
    : owners_(std::move(owners)),
      limits_(limits),
      modules_(owners_),
      marks_(owners_->index().chunk_count(), 0),
      visited_(owners_->index().inode_count(), false) {
  const auto& index = owners_->index();
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const auto directory = index.inode(number);
    if (directory.type != FileType::directory) continue;
    for (uint32_t i = 0; i < directory.count; ++i) {
      const auto entry = index.entry(directory, i);
      if (entry.type != FileType::regular && entry.type != FileType::symlink) continue;
      if (is_library_name(entry.name)) library_names_.emplace(entry.name, entry.inode);
    }
  }
}

Neighbours::~Neighbours() = default;

Neighbours::Counts Neighbours::counts() const {
  Counts counts = counts_;
  counts.held_back = held_.size();
  return counts;
}

Neighbours::Advice Neighbours::take() {
  return std::exchange(advice_, {});
}

// ---- What is asked for -------------------------------------------------------------------------------------

void Neighbours::want(uint32_t chunk) {
  if ((marks_[chunk] & (kAdvised | kHeld | kTouched)) != 0) return;
  marks_[chunk] |= kHeld;
  held_.push_back(chunk);
  if (held_.size() == 1) release_held();  // else it waits behind others
}

/// Lets go what the limit allows, in order.
void Neighbours::release_held() {
  for (; !held_.empty(); held_.pop_front()) {
    const uint32_t chunk = held_.front();
    const uint64_t bytes = owners_->index().location(chunk).stored_length;
    if ((marks_[chunk] & kTouched) == 0) {
      const uint64_t unused = counts_.advised_bytes - counts_.used_bytes;
      if (unused + bytes > limits_.waste_bytes + counts_.touched_bytes) return;
      marks_[chunk] |= kAdvised;
      counts_.advised_bytes += bytes;
      advice_.chunks.push_back(chunk);
    }
    marks_[chunk] &= static_cast<uint8_t>(~kHeld);
  }
}

void Neighbours::want(const InodeView& file, const FileRange& range) {
  const auto& index = owners_->index();
  for (uint32_t i = first_extent_behind(index, file, range.offset); i < file.count; ++i) {
    const auto extent = index.extent(file, i);
    if (extent.offset >= range.end()) break;
    want(extent.chunk);
  }
}

void Neighbours::look(uint32_t inode, Look::For purpose, const FileRange& range) {
  if (range.length == 0) return;
  want(owners_->index().inode(inode), range);
  advice_.looks.push_back({purpose, inode, range});
}

/// A file that will be read from its beginning.
void Neighbours::visit(uint32_t inode) {
  if (visited_[inode]) return;
  visited_[inode] = true;
  const auto file = owners_->index().inode(inode);
  if (file.type != FileType::regular || file.size == 0) return;
  const std::string_view name = owners_->name(inode);
  const FileRange whole{0, file.size};
  if (is_python_name(name) && file.size <= kMaxPythonBytes) {
    visit_python(inode);
    return look(inode, Look::For::python, whole);
  }
  if (is_pickle_name(name) && file.size <= limits_.whole_file_bytes) {
    return look(inode, Look::For::module_names, whole);
  }
  if (is_library_name(name) || (file.mode & 0111) != 0) {
    return look(inode, Look::For::elf_head, {0, std::min(file.size, kElfHeadBytes)});
  }
  if (file.size <= limits_.whole_file_bytes) return want(file, whole);
  if (std::ranges::any_of(kArchives, [name](std::string_view end) { return name.ends_with(end); })) {
    want(file, {file.size - 1, 1});
  }
}

// ---- What is told ------------------------------------------------------------------------------------------

Neighbours::Advice Neighbours::begin() {
  const auto& index = owners_->index();
  size_t interpreters = 0;
  for (uint32_t number = 1; number < index.inode_count() && interpreters < kMaxInterpreters; ++number) {
    const auto file = index.inode(number);
    if (file.type != FileType::regular || (file.mode & 0111) == 0) continue;
    const std::string_view name = owners_->name(number);
    constexpr std::string_view kPython = "python3";
    const bool is_interpreter =
        name.starts_with(kPython) && !name.contains('-') && owners_->name(owners_->directory(number)) == kBin;
    if (!is_interpreter) continue;
    ++interpreters;
    visit(number);
  }
  if (interpreters == 0) return take();
  for (const std::string_view path : kEveryProgram) {
    if (const auto file = index.lookup(path)) visit(file->number);
  }
  for (const uint32_t root : modules_.roots()) {
    const auto folder = index.inode(root);
    for (uint32_t i = 0; i < folder.count; ++i) {
      const auto entry = index.entry(folder, i);
      if (entry.type == FileType::regular && entry.name.ends_with(".pth")) visit(entry.inode);
    }
  }
  for (const std::string_view name : kEveryStart) visit_modules(modules_.find(name).files);
  return take();
}

Neighbours::Advice Neighbours::touched(uint32_t chunk) {
  if ((marks_[chunk] & kTouched) != 0) return take();
  const bool was_known = marks_[chunk] != 0;
  const uint64_t bytes = owners_->index().location(chunk).stored_length;
  if ((marks_[chunk] & kAdvised) != 0) counts_.used_bytes += bytes;
  counts_.touched_bytes += bytes;
  marks_[chunk] |= kTouched;
  if (const auto owner = owners_->owner(chunk)) {
    if (!visited_[owner->inode]) {
      touch_metadata(owner->inode);
      visit(owner->inode);
      touch_source(owner->inode);
    } else if (!was_known) {
      touch_unknown(owner->inode, owner->extent);
    }
  }
  release_held();
  return take();
}

/// A read in a file of which we thought to know enough: more of that kind will come, near it on either side.
void Neighbours::touch_unknown(uint32_t inode, uint32_t extent) {
  const auto& index = owners_->index();
  const auto file = index.inode(inode);
  uint32_t& touches = unknown_touches_[inode];
  const uint32_t window = std::min(limits_.first_window << std::min(touches, 16U), limits_.largest_window);
  ++touches;
  const auto library = libraries_.find(inode);
  const uint64_t end = library == libraries_.end() ? file.size : library->second->head.load_end;
  for (uint32_t i = 1; i <= window; ++i) {
    if (extent + i < file.count && index.extent(file, extent + i).offset < end) {
      want(index.extent(file, extent + i).chunk);
    }
    if (i <= extent) want(index.extent(file, extent - i).chunk);
  }
}

Neighbours::Advice Neighbours::imported(const std::vector<std::string>& names) {
  visit_named(names);
  return take();
}

void Neighbours::visit_named(const std::vector<std::string>& names) {
  for (const std::string& name : names) visit_modules(modules_.find(name).files);
}

/// What is read of a distribution by looking into all of them: its entry points, for one.
void Neighbours::touch_metadata(uint32_t inode) {
  constexpr std::string_view kMetadata = ".dist-info";
  const uint32_t folder = owners_->directory(inode);
  const std::string_view name = owners_->name(inode);
  if (!owners_->name(folder).ends_with(kMetadata) || !metadata_.emplace(name).second) return;
  const auto& index = owners_->index();
  const auto beside = index.inode(owners_->directory(folder));
  for (uint32_t i = 0; i < beside.count; ++i) {
    const auto entry = index.entry(beside, i);
    if (entry.type != FileType::directory || !entry.name.ends_with(kMetadata)) continue;
    if (const auto found = index.find(index.inode(entry.inode), name)) want_small(found->inode);
  }
}

void Neighbours::want_small(uint32_t inode) {
  const auto file = owners_->index().inode(inode);
  if (file.type == FileType::regular && file.size > 0 && file.size <= kSmallBytes) want(file, {0, file.size});
}

/// Without looking into what may come as well: that is done when it is read.
void Neighbours::visit_python(uint32_t inode) {
  if (owners_->name(inode).starts_with("__init__.")) {
    for (const uint32_t file : modules_.subpackages(modules_.home(inode))) want_small(file);
  }
  const auto source = modules_.source_of(inode);
  const auto distribution = modules_.distribution(inode);
  if (!source || !distribution) return;
  Sources& sources = sources_[*distribution];
  if (sources.read >= limits_.sources_read) return want_small(*source);
  sources.compiled.push_back(inode);
}

void Neighbours::touch_source(uint32_t inode) {
  if (!owners_->name(inode).ends_with(".py")) return;
  const auto distribution = modules_.distribution(inode);
  if (!distribution) return;
  Sources& sources = sources_[*distribution];
  if (++sources.read != limits_.sources_read) return;
  for (const uint32_t compiled : std::exchange(sources.compiled, {})) {
    if (const auto source = modules_.source_of(compiled)) want_small(*source);
  }
}

void Neighbours::visit_modules(const std::vector<uint32_t>& files) {
  for (const uint32_t file : files) visit(file);
}

Neighbours::Advice Neighbours::shown(const Look& look, std::string_view bytes) {
  const auto library = libraries_.find(look.inode);
  switch (look.purpose) {
    case Look::For::python: {
      std::optional<std::vector<std::string>> names;
      if (owners_->name(look.inode).ends_with(".pyc")) {
        names = names_in_pyc(bytes);
      } else {
        names = names_in_source(bytes);
      }
      if (names) visit_modules(modules_.imports(look.inode, *names));
      break;
    }
    case Look::For::module_names:
      visit_named(names_in_binary(bytes));
      break;
    case Look::For::elf_head:
      show_elf_head(look.inode, bytes);
      break;
    case Look::For::elf_dynamic:
      if (library != libraries_.end()) show_elf_dynamic(look.inode, bytes);
      break;
    case Look::For::elf_needed:
      visit_library(elf_string(bytes));
      break;
    case Look::For::elf_relocations:
      if (library == libraries_.end()) break;
      show_init_functions(look.inode,
                          init_functions_of_relocations(bytes, library->second->dynamic, library->second->head));
      break;
    case Look::For::elf_init_array:
      if (library == libraries_.end()) break;
      show_init_functions(look.inode, init_functions_of_array(bytes, library->second->head));
      break;
  }
  release_held();
  return take();
}

// ---- ELF ---------------------------------------------------------------------------------------------------

void Neighbours::show_elf_head(uint32_t inode, std::string_view bytes) {
  const auto file = owners_->index().inode(inode);
  const auto head = parse_elf_head(bytes, file.size);
  if (!head) {
    if (file.size <= limits_.whole_file_bytes) want(file, {0, file.size});
    return;
  }
  if (head->load_end <= limits_.whole_library_bytes) {
    const bool is_extension = is_extension_name(owners_->name(inode));
    const FileRange loaded{0, head->load_end};
    is_extension ? look(inode, Look::For::module_names, loaded) : want(file, loaded);
  }
  for (const ElfSegment& segment : head->loads) {
    if (segment.writable) want(file, segment.file);  // it is relocated
  }
  if (head->interpreter.length > 0 && head->interpreter.end() <= bytes.size()) {
    const std::string_view path = elf_string(bytes.substr(head->interpreter.offset, head->interpreter.length));
    visit_library(path.substr(path.rfind('/') + 1));
  }
  const FileRange dynamic = head->dynamic;
  auto library = std::make_unique<Library>();
  library->head = *head;
  libraries_[inode] = std::move(library);
  look(inode, Look::For::elf_dynamic, dynamic);
}

void Neighbours::show_elf_dynamic(uint32_t inode, std::string_view bytes) {
  Library& library = *libraries_.at(inode);
  library.dynamic = parse_elf_dynamic(bytes, library.head);
  const ElfDynamic& dynamic = library.dynamic;
  const auto file = owners_->index().inode(inode);
  const size_t needed = std::min(dynamic.needed.size(), kMaxNeeded);
  for (size_t i = 0; i < needed; ++i) {
    if (dynamic.needed[i] >= dynamic.strings.length) continue;
    look(
        inode, Look::For::elf_needed,
        {dynamic.strings.offset + dynamic.needed[i], std::min(kNameBytes, dynamic.strings.length - dynamic.needed[i])});
  }
  want(file, dynamic.tables);
  if (dynamic.init_array.length == 0 || dynamic.init_array.length > kMaxInitArrayBytes) return;
  look(inode, Look::For::elf_init_array, dynamic.init_array);
  if (dynamic.relocations.length > 0 && dynamic.relocations.length <= kMaxRelocationBytes) {
    look(inode, Look::For::elf_relocations, dynamic.relocations);
  }
}

void Neighbours::show_init_functions(uint32_t inode, const std::vector<uint64_t>& offsets) {
  const auto file = owners_->index().inode(inode);
  for (const uint64_t offset : offsets) want(file, {offset, 1});
}

void Neighbours::visit_library(std::string_view name) {
  auto found = library_names_.find(name);
  if (name.empty() || found == library_names_.end()) return;
  const auto& index = owners_->index();
  // libz.so.1 → libz.so.1.2.13, beside it.
  constexpr int kMaxLinks = 4;
  for (int i = 0; i < kMaxLinks; ++i) {
    const auto file = index.inode(found->second);
    if (file.type == FileType::regular) return visit(found->second);
    found = library_names_.find(file.target.substr(file.target.rfind('/') + 1));
    if (found == library_names_.end()) return;
  }
}

}  // namespace hearth::mount
