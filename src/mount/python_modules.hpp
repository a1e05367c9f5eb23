// Finds the files of Python modules in a layer, by the rules of the import system, from the index alone.
#pragma once

#include "mount/content_owners.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Immutable, shared by threads. Names that are no modules of this layer are found nowhere.
class PythonModules {
 public:
  /// Looks for the folders that Python has on its path in an image: lib/python3.N, its lib-dynload, site-packages and
  /// dist-packages, wherever they lie.
  explicit PythonModules(std::shared_ptr<const ContentOwners> owners);

  /// Folders on the path (inodes of directories), at most kMaxRoots.
  const std::vector<uint32_t>& roots() const { return roots_; }

  struct Module {
    std::vector<uint32_t> files;      // inodes that an import reads: of the packages on the way, then its own
    std::optional<uint32_t> package;  // directory of the last one, if it is a package
  };
  /// "numpy.linalg" from the path.
  Module find(std::string_view dotted) const;
  /// The same from one folder.
  Module find_in(uint32_t directory, std::string_view dotted) const;

  /// Files that the import of a file reads whose code uses these names (python_names.hpp): modules from the path,
  /// beside it, and in the packages named before. Without those in `names` that are nothing.
  std::vector<uint32_t> imports(uint32_t file, const std::vector<std::string>& names) const;
  /// The code of the packages right below the folder, at most kMaxSubpackages.
  std::vector<uint32_t> subpackages(uint32_t directory) const;
  /// The source of a compiled file.
  std::optional<uint32_t> source_of(uint32_t file) const;
  /// The outermost package (or folder on the path) that a file lies in; nullopt for what is not on the path.
  std::optional<uint32_t> distribution(uint32_t file) const;
  /// The folder that a file's module lies in: of lib/__pycache__/x.cpython-311.pyc it is lib.
  uint32_t home(uint32_t file) const;

  static constexpr size_t kMaxRoots = 32;
  static constexpr size_t kMaxSubpackages = 64;

 private:
  std::optional<uint32_t> child(uint32_t directory, std::string_view name, image::FileType type) const;
  std::optional<uint32_t> file_of(uint32_t directory, std::string_view prefix, std::string_view suffix) const;
  std::optional<uint32_t> code_of(uint32_t directory, std::string_view name) const;

  std::shared_ptr<const ContentOwners> owners_;
  std::vector<uint32_t> roots_;
};

}  // namespace hearth::mount
