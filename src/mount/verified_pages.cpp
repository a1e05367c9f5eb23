#include "mount/verified_pages.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

namespace {

constexpr uint32_t kPagesABlock = kBlockBytes / kPageBytes;

}  // namespace

Result<> VerifiedPages::read(const image::PageRun& run, char* to) {
  std::fill_n(to, bytes_of(run), '\0');
  for (uint32_t page = run.first; page < uint32_t{run.first} + run.pages; ++page, to += kPageBytes) {
    TRY(const std::string* const bytes, block(run.chunk, page / kPagesABlock));
    const size_t offset = size_t{page % kPagesABlock} * kPageBytes;
    if (offset < bytes->size()) bytes->copy(to, kPageBytes, offset);
  }
  return {};
}

Result<const std::string*> VerifiedPages::block(uint32_t chunk, uint32_t number) {
  const auto found = std::ranges::find_if(
      kept_, [chunk, number](const Block& block) { return block.chunk == chunk && block.number == number; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return &kept_.front().bytes;
  }
  TRY(std::string bytes, read_block(pack_chunk(layer_->chunks(), chunk), number));
  kept_.push_front({chunk, number, std::move(bytes)});
  if (kept_.size() > kKept) kept_.pop_back();
  return &kept_.front().bytes;
}

Result<std::string> VerifiedPages::read_block(const PackChunk& chunk, uint32_t number) {
  const auto& pack = layer_->pack(layer_->index().location(chunk.number).pack);
  const uint64_t begin = uint64_t{number} * kBlockBytes;
  const auto size = static_cast<size_t>(std::min<uint64_t>(kBlockBytes, chunk.length - begin));
  const PageRange pages = pages_of(chunk.plain_offset + begin, size);
  if (!pack->present(pages.offset, pages.length)) {
    TRY_VOID(fetcher_.fill_and_wait(
        {.pack = pack, .offset = pages.offset, .length = pages.length, .urgency = Urgency::prefetch}));
  }
  std::string bytes(size, '\0');
  TRY_VOID(pack->read(pages.offset, bytes.data(), bytes.size()));
  if (Digest::of(bytes) != chunk.block_digest(number)) {
    pack->distrust(pages);
    return fail(ErrorCode::corrupt, "what the disk has of pack " + pack->digest().hex() + " is damaged");
  }
  return bytes;
}

}  // namespace hearth::mount
