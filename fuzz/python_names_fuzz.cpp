// Any bytes as a compiled Python module, and as source: names come out, or nothing does.
#include "base/result.hpp"
#include "mount/python_names.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto names = hearth::mount::names_in_pyc(bytes)) {
    CHECK_PROMISE(names->size() <= hearth::mount::kMaxPythonNames);
  }
  for (const auto& name : hearth::mount::names_in_source(bytes)) CHECK_PROMISE(name.size() <= bytes.size());
  for (const auto& name : hearth::mount::names_in_binary(bytes)) CHECK_PROMISE(name.contains('.'));
  return 0;
}
