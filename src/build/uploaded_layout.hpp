// An OCI layout that was uploaded, read from its parts as they lie in the store: nothing is put together on disk.
#pragma once

#include "build/upload_manifest.hpp"
#include "oci/layout_files.hpp"

#include <memory>
#include <string>

namespace hearth::build {

/// `files` as parse_manifest gives them, paths relative to the layout. Reading gives not_found when a part is not there
/// (send it again) and corrupt when the parts do not make the file. Parts of blobs are not checked against their
/// digests, since blobs have digests of their own; parts of other files are.
std::shared_ptr<const oci::LayoutFiles> uploaded_layout(std::shared_ptr<blob::ObjectStore> store, std::string workspace,
                                                        Manifest files);

}  // namespace hearth::build
