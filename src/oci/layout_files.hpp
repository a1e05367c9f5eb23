// The files of an OCI image layout, wherever they lie: in a directory, or in an upload that nobody has put together.
#pragma once

#include "base/result.hpp"
#include "oci/byte_source.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace hearth::oci {

struct LayoutFile {
  std::unique_ptr<ByteSource> source;
  uint64_t size = 0;
};

/// Safe from several threads.
class LayoutFiles {
 public:
  virtual ~LayoutFiles() = default;
  /// For messages.
  virtual const std::string& name() const = 0;
  /// "blobs/sha256/<hex>". not_found when there is none; corrupt when it is no regular file. What is read of a blob
  /// need not be verified: whoever reads it knows its digest. The source may outlive the layout.
  virtual Result<LayoutFile> open(const std::string& path) const = 0;
};

/// No symlink is followed on the way to a file.
Result<std::shared_ptr<const LayoutFiles>> open_layout_directory(const std::filesystem::path& directory);

}  // namespace hearth::oci
