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
constexpr std::string_view kComparedFile =
    "compared";  // when the index was the store's: a file's time is that of its use
constexpr size_t kComparedBytesMax = 64;
constexpr size_t kIndexCheckBytes = 32;               // at the end of an index: the checksum of its places
constexpr std::chrono::minutes kIndexTrustedFor{30};  // half the grace of garbage collection
constexpr seconds kIndexCheckPatience{2};

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
  TRY_VOID(keep_file(workspace_path, workspace));
  return note_compared(digest);
}

Result<> LazyLayers::note_compared(const Digest& digest) const {
  TRY(const auto path, cache_->layer_path(digest, kComparedFile));
  return keep_file(path, to_iso8601(wall_now()));
}

bool LazyLayers::was_compared_lately(const Digest& digest) const {
  const auto path = cache_->layer_path(digest, kComparedFile);
  if (!path) return true;
  const auto text = read_file(*path, kComparedBytesMax);
  const auto at = text ? from_iso8601(*text) : std::nullopt;
  return at && wall_now() >= *at && wall_now() - *at < kIndexTrustedFor;
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

Result<std::shared_ptr<CachedLayer>> LazyLayers::with_packs(const std::string& workspace,
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
  const Digest digest = index->digest();
  TRY(auto layer, CachedLayer::open(*cache_, std::move(index), workspace));
  if (!leases_) return layer;
  // What is not here yet must stay in the store for as long as somebody may read it.
  struct Leased {
    std::shared_ptr<CachedLayer> layer;
    std::shared_ptr<void> lease;
  };
  const auto leased = std::make_shared<Leased>(Leased{std::move(layer), leases_->hold(workspace, digest)});
  return std::shared_ptr<CachedLayer>(leased, leased->layer.get());
}

Result<std::shared_ptr<CachedLayer>> LazyLayers::open(const std::string& workspace, const Digest& digest) {
  if (auto local = local_index(digest)) {
    auto layer = with_packs(workspace, std::move(*local));
    if (!layer || (*layer)->complete() || is_current(workspace, digest)) return layer;
    log_info("a layer was stored anew; its content is read from there", {{"layer", digest.hex().substr(0, 12)}});
  }
  TRY(auto index, fetched_index(workspace, digest));
  return with_packs(workspace, std::move(index));
}

/// Whether the kept index is the one in the store. When a layer was collected and an equal tree stored anew, the same
/// content may lie in other packs. What the store does not say in time is taken as it is.
bool LazyLayers::is_current(const std::string& workspace, const Digest& digest) const {
  const auto path = cache_->layer_path(digest, kIndexFile);
  if (!path || was_compared_lately(digest)) return true;
  const auto local = read_file(*path, image::kMaxIndexBytes);
  if (!local || local->size() < kIndexCheckBytes) return false;
  const uint64_t offset = local->size() - kIndexCheckBytes;
  for (const auto& scope : image::StoreScope::lookup_order(workspace)) {
    std::string check;
    const auto sink = [&check](std::string_view bytes) -> Result<> {
      check += bytes;
      return {};
    };
    const auto read = store_->read(scope.layer_key(digest), {offset, kIndexCheckBytes}, sink,
                                   {.deadline = Deadline::after(mono_now(), kIndexCheckPatience)});
    if (!read && read.error().code == ErrorCode::not_found) continue;
    if (!read && read.error().code != ErrorCode::corrupt) return true;
    if (!read || check != std::string_view(*local).substr(offset)) return false;
    if (auto noted = note_compared(digest); !noted) {
      log_warning("an index is compared again at its next use", {{"error", noted.error().message}});
    }
    return true;
  }
  return true;
}

Result<std::shared_ptr<CachedLayer>> LazyLayers::reopen(const Digest& digest) {
  TRY(const auto path, cache_->layer_path(digest, kWorkspaceFile));
  TRY(auto workspace, read_file(path));
  TRY(auto index, local_index(digest));
  return with_packs(workspace, std::move(index));
}

bool LazyLayers::knows(const Digest& digest) const {
  const auto path = cache_->layer_path(digest, kIndexFile);
  std::error_code error;
  return path && std::filesystem::exists(*path, error);
}

}  // namespace hearth::mount
