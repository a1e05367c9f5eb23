#include "mount/lazy_layers.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "image/store_scope.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace hearth::mount {

namespace {

constexpr std::string_view kIndexFile = "index";
constexpr std::string_view kWorkspaceFile = "workspace";

/// Whole or not at all, but not synced: a torn file does not match its digest and is fetched again.
Result<> keep_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path draft = path.parent_path() / (".tmp-" + random_id(8));
  TRY(const UniqueFd file, open_file(draft, O_WRONLY | O_CREAT | O_EXCL, 0600));
  auto written = write_all(file.get(), bytes, draft.string());
  if (written && ::rename(draft.c_str(), path.c_str()) != 0) written = fail_errno("name " + path.string(), errno);
  if (!written) ::unlink(draft.c_str());
  return written;
}

}  // namespace

void LazyLayers::inherit(std::vector<std::pair<Digest, UniqueFd>> packs) {
  const std::lock_guard lock(mutex_);
  for (auto& [digest, fd] : packs) inherited_[digest.hex()] = std::move(fd);
}

UniqueFd LazyLayers::inherited(const Digest& pack) {
  const std::lock_guard lock(mutex_);
  const auto found = inherited_.find(pack.hex());
  if (found == inherited_.end()) return {};
  UniqueFd fd = std::move(found->second);
  inherited_.erase(found);
  return fd;
}

Result<std::shared_ptr<const image::LayerIndex>> LazyLayers::local_index(const Digest& digest) const {
  TRY(const auto path, cache_->layer_path(digest, kIndexFile));
  TRY(auto bytes, read_file(path, image::kMaxIndexBytes));
  TRY(auto index, image::LayerIndex::decode(std::move(bytes)));
  if (index.digest() != digest) return fail(ErrorCode::corrupt, "a kept index has another digest");
  cache_->touch_layer(digest);
  return std::make_shared<const image::LayerIndex>(std::move(index));
}

/// Kept for the next start; a failure to do so costs only time.
Result<> LazyLayers::keep(const std::string& workspace, const Digest& digest, std::string_view index) const {
  TRY(const auto index_path, cache_->layer_path(digest, kIndexFile));
  TRY_VOID(keep_file(index_path, index));
  TRY(const auto workspace_path, cache_->layer_path(digest, kWorkspaceFile));
  return keep_file(workspace_path, workspace);
}

Result<std::shared_ptr<const image::LayerIndex>> LazyLayers::fetched_index(const std::string& workspace,
                                                                           const Digest& digest) const {
  for (const auto& scope : image::StoreScope::lookup_order(workspace)) {
    auto bytes = store_->get(scope.layer_key(digest));
    if (!bytes && bytes.error().code == ErrorCode::not_found) continue;
    if (!bytes) return fail_with_context("layer " + digest.to_string(), std::move(bytes).error());
    if (auto kept = keep(workspace, digest, *bytes); !kept) {
      log_warning("an index is not kept on this machine", {{"error", kept.error().message}});
    }
    auto index = image::LayerIndex::decode(std::move(*bytes));
    if (!index) return fail_with_context("layer " + digest.to_string(), std::move(index).error());
    if (index->digest() != digest) {
      return fail(ErrorCode::corrupt, "layer " + digest.to_string() + ": its index has another digest");
    }
    return std::make_shared<const image::LayerIndex>(std::move(*index));
  }
  return fail(ErrorCode::not_found, "workspace " + workspace + " has no layer " + digest.to_string());
}

Result<std::shared_ptr<CachedLayer>> LazyLayers::with_packs(std::string workspace,
                                                            std::shared_ptr<const image::LayerIndex> index) {
  if (!index->is_page_mapped()) {
    return fail(ErrorCode::invalid_argument,
                "layer " + index->digest().to_string() +
                    " was made by an older Hearth and cannot be read lazily: deploy or import it again");
  }
  std::vector<std::shared_ptr<PackFile>> adopted;  // kept until the layer has them
  for (uint32_t number = 0; number < index->pack_count(); ++number) {
    const auto info = index->pack(number);
    auto fd = inherited(info.digest);
    if (!fd) continue;
    TRY(auto pack, cache_->pack(info, std::move(fd)));
    adopted.push_back(std::move(pack));
  }
  return CachedLayer::open(*cache_, std::move(index), std::move(workspace));
}

Result<std::shared_ptr<CachedLayer>> LazyLayers::open(const std::string& workspace, const Digest& digest) {
  auto index = local_index(digest);
  if (!index) index = fetched_index(workspace, digest);
  if (!index) return Unexpected(index.error());
  return with_packs(workspace, std::move(*index));
}

Result<std::shared_ptr<CachedLayer>> LazyLayers::reopen(const Digest& digest) {
  TRY(const auto path, cache_->layer_path(digest, kWorkspaceFile));
  TRY(auto workspace, read_file(path));
  TRY(auto index, local_index(digest));
  return with_packs(std::move(workspace), std::move(index));
}

}  // namespace hearth::mount
