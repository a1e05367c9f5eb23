// What a start will read next, told from what it reads now and from what the files themselves say: for starts without a
// profile. Pure: touches and bytes in, advice out.
//
// Known kinds: ELF files name the libraries they need, the tables the dynamic linker reads and the functions that run
// when they are loaded; Python files name the modules they import; of archives the directory at the end is read first.
// So the chain of reads, each of which would wait for the one before it, becomes a few steps of many at once.
#pragma once

#include "mount/content_owners.hpp"
#include "mount/elf_layout.hpp"
#include "mount/python_modules.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

struct NeighbourLimits {
  /// Stored bytes that were advised and not read, beyond as many as were read: what advice may waste.
  uint64_t waste_bytes = uint64_t{24} << 20;
  /// Files up to this size are fetched whole when they are first touched.
  uint64_t whole_file_bytes = uint64_t{4} << 20;
  /// Likewise the loadable parts of libraries.
  uint64_t whole_library_bytes = uint64_t{12} << 20;
  /// Chunks around a touch in a large file that nothing was known of: doubles with each such touch.
  uint32_t first_window = 1;
  uint32_t largest_window = 8;
  /// Files of source that are read beside their compiled form before all of that package are expected to be.
  uint32_t sources_read = 3;
};

/// Of one layer; not thread-safe. Memory: a byte a chunk, a bit an inode, and a little for each ELF file.
class Neighbours {
 public:
  Neighbours(std::shared_ptr<const ContentOwners> owners, const NeighbourLimits& limits = {});
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  /// Bytes of a file that are to be shown as soon as they are present.
  struct Look {
    enum class For {
      elf_head,
      elf_dynamic,
      elf_needed,
      elf_relocations,
      elf_init_array,
      python,
      module_names
    } purpose{};
    uint32_t inode = 0;
    FileRange range;
  };
  struct Advice {
    std::vector<uint32_t> chunks;  // to be fetched, in this order; none is advised twice
    std::vector<Look> looks;       // the chunks they need are advised, too, or were touched
  };

  /// When Python is about to start in this layer: its interpreter, and what every interpreter imports.
  Advice begin();
  /// Somebody reads this chunk.
  Advice touched(uint32_t chunk);
  /// The bytes of a look; fewer than its range when the file is shorter.
  Advice shown(const Look& look, std::string_view bytes);
  /// Modules that another layer's file imports, by name.
  Advice imported(const std::vector<std::string>& names);

  struct Counts {
    uint64_t advised_bytes = 0;  // stored
    uint64_t used_bytes = 0;     // of these, touched later
    uint64_t touched_bytes = 0;  // all that was touched
    uint64_t held_back = 0;      // chunks, by the limit
  };
  Counts counts() const;

 private:
  struct Library;
  /// Some programs read the source of what they import (decorators that look at their callers).
  struct Sources {
    std::vector<uint32_t> compiled;  // visited files, while it is not clear whether their source is read
    uint32_t read = 0;               // files of source
  };

  void visit(uint32_t inode);
  void want(uint32_t chunk);
  void want(const image::InodeView& file, const FileRange& range);
  void look(uint32_t inode, Look::For purpose, const FileRange& range);
  void release_held();
  Advice take();

  void touch_unknown(uint32_t inode, uint32_t extent);
  void show_elf_head(uint32_t inode, std::string_view bytes);
  void show_elf_dynamic(uint32_t inode, std::string_view bytes);
  void show_init_functions(uint32_t inode, const std::vector<uint64_t>& offsets);
  void visit_library(std::string_view name);
  void visit_modules(const std::vector<uint32_t>& files);
  void visit_named(const std::vector<std::string>& names);
  void visit_python(uint32_t inode);
  void touch_metadata(uint32_t inode);
  void touch_source(uint32_t inode);
  void want_small(uint32_t inode);

  std::shared_ptr<const ContentOwners> owners_;
  NeighbourLimits limits_;
  PythonModules modules_;
  std::vector<uint8_t> marks_;                                        // by chunk
  std::vector<bool> visited_;                                         // by inode
  std::unordered_map<uint32_t, std::unique_ptr<Library>> libraries_;  // by inode
  std::unordered_map<std::string_view, uint32_t> library_names_;      // → inode; views into the index
  std::unordered_map<uint32_t, uint32_t> unknown_touches_;            // by inode
  std::unordered_map<uint32_t, Sources> sources_;                     // by the inode of the distribution's folder
  std::set<std::string, std::less<>> metadata_;                       // names of files in .dist-info
  std::deque<uint32_t> held_;                                         // chunks
  Counts counts_;
  Advice advice_;
};

}  // namespace hearth::mount
