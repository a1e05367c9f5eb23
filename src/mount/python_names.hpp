// Which modules a Python file imports when it is imported itself: the names that its outermost code uses. Pure and
// total: any bytes may come. Nothing is run; names that are no modules come with them, and whoever looks them up finds
// nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Files beyond this are not looked into.
inline constexpr size_t kMaxPythonBytes = size_t{4} << 20;
inline constexpr size_t kMaxPythonNames = 4096;

/// From the bytes of a .pyc file of Python 3.8 to 3.14: the names of its module's code ("numpy", "os.path", "array"),
/// in the order of first use. What is imported from a module follows the module's name. nullopt: not such a file.
std::optional<std::vector<std::string>> names_in_pyc(std::string_view bytes);

/// From source: what its import statements name, in the same form. Relative imports lose their dots.
std::vector<std::string> names_in_source(std::string_view text);

/// Words with dots in anything ("sklearn.utils._heap"), in order, each once: compiled extensions hold the names of the
/// modules that they import as such texts, and pickles those of their objects' modules.
std::vector<std::string> names_in_binary(std::string_view bytes);

}  // namespace hearth::mount
