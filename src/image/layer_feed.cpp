#include "image/layer_feed.hpp"

#include "oci/decompress.hpp"
#include "oci/read_ahead.hpp"

#include <optional>
#include <utility>

namespace hearth::image {

namespace {

constexpr size_t kAheadBytes = 32 * 1024 * 1024;

/// Counts compressed bytes as they are read, by whichever thread.
class CountedSource final : public oci::ByteSource {
 public:
  CountedSource(oci::ByteSource& inner, std::atomic<uint64_t>& total) : inner_(inner), total_(total) {}
  Result<size_t> read(char* to, size_t size) override {
    TRY(const size_t got, inner_.read(to, size));
    total_ += got;
    return got;
  }

 private:
  oci::ByteSource& inner_;
  std::atomic<uint64_t>& total_;
};

}  // namespace

/// A layer on its way: file → count → hash → decompress → hash → buffer.
class LayerFeed::Lane {
 public:
  static std::unique_ptr<Lane> begin(const oci::ImageArchive& archive, size_t i, std::atomic<uint64_t>& total) {
    auto lane = std::make_unique<Lane>(archive.layers()[i], archive.config().diff_ids[i]);
    lane->begun_ = lane->open(archive, i, total);
    return lane;
  }
  Lane(const oci::LayerBlob& blob, const Digest& diff_id) : blob_(blob), diff_id_(diff_id) {}

  Result<oci::ByteSource*> plain() {
    TRY_VOID(std::exchange(begun_, {}));
    return &*ahead_;
  }

  Result<> check() {
    if (stored_hash_->bytes() != blob_.size)
      return fail(ErrorCode::corrupt, "its size is not the one that was promised");
    const Digest plain = plain_hash_->finish();
    const Digest stored = is_plain_ ? plain : stored_hash_->finish();
    if (blob_.digest && stored != *blob_.digest) return fail(ErrorCode::corrupt, "it does not match its digest");
    if (plain != diff_id_) {
      return fail(ErrorCode::corrupt, "its content does not match the diff_id in the image config");
    }
    return {};
  }

 private:
  Result<> open(const oci::ImageArchive& archive, size_t i, std::atomic<uint64_t>& total) {
    TRY(stored_, archive.open_layer(i));
    counted_.emplace(*stored_, total);
    stored_hash_.emplace(*counted_);
    TRY(decompressor_, oci::Decompressor::open(*stored_hash_));
    // Stored plain, the two digests are of the same bytes; one hash does.
    is_plain_ = decompressor_->compression() == oci::Compression::none;
    if (is_plain_ || !blob_.digest) stored_hash_->count_only();
    plain_hash_.emplace(*decompressor_);
    ahead_.emplace(*plain_hash_, kAheadBytes);
    return {};
  }

  const oci::LayerBlob& blob_;
  const Digest diff_id_;
  Result<> begun_;
  bool is_plain_ = false;
  std::unique_ptr<oci::ByteSource> stored_;
  std::optional<CountedSource> counted_;
  std::optional<oci::HashingSource> stored_hash_;
  std::unique_ptr<oci::Decompressor> decompressor_;
  std::optional<oci::HashingSource> plain_hash_;
  std::optional<oci::ReadAhead> ahead_;  // last: its thread uses the others
};

LayerFeed::LayerFeed(const oci::ImageArchive& archive) : archive_(archive) {}
LayerFeed::~LayerFeed() = default;

Result<oci::ByteSource*> LayerFeed::next() {
  CHECK_PROMISE(given_ < archive_.layers().size());
  if (given_ > 0) lanes_.pop_front();
  ++given_;
  while (begun_ < archive_.layers().size() && lanes_.size() < kLanes)
    lanes_.push_back(Lane::begin(archive_, begun_++, stored_bytes_));
  return lanes_.front()->plain();
}

Result<> LayerFeed::check() const {
  return lanes_.front()->check();
}

}  // namespace hearth::image
