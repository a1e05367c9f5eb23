// What images became that were imported before: docs/formats/store.md, "imports".
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/intent.hpp"
#include "blob/object_store.hpp"
#include "image/import.hpp"
#include "image/store_scope.hpp"

#include <optional>
#include <span>

namespace hearth::image {

/// The record of an earlier import of the same manifest (or list of manifests) into this scope, if its layer and all
/// packs of it are still there: they are kept by the intent then. Errors are the store's.
Result<std::optional<ImageRecord>> find_import(blob::ObjectStore& store, const StoreScope& scope,
                                               const Digest& manifest, blob::Intent& intent);

/// For the next import of what has one of these digests.
Result<> remember_import(blob::ObjectStore& store, const StoreScope& scope, const ImageRecord& record,
                         std::span<const Digest> manifests);

}  // namespace hearth::image
