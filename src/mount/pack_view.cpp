#include "mount/pack_view.hpp"

#include "base/file.hpp"
#include "mount/layer_chunks.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hearth::mount {

namespace {

using Bits = PresentMap::Bits;

/// The bits are of this very file, and it is as long as it was.
bool speaks_of(const PresentHeader& header, int data) {
  struct statx facts{};
  if (::statx(data, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &facts) != 0) return false;
  if (facts.stx_ino != header.data_inode || facts.stx_size != header.plain_size) return false;
  if ((facts.stx_mask & STATX_BTIME) == 0) return true;
  return facts.stx_btime.tv_sec == header.birth_seconds && facts.stx_btime.tv_nsec == header.birth_nanoseconds;
}

}  // namespace

Result<PackView> PackView::of_closed(const Files& files, const Digest& pack, const Digest& epoch) {
  TRY(auto present, PresentMap::open(files.present));
  TRY(auto data, open_file(files.data, O_RDONLY | O_NOFOLLOW));
  const auto& header = present.header();
  if (header.pack != pack || header.epoch != epoch || !speaks_of(header, data.get())) {
    return fail(ErrorCode::not_found, "nothing of pack " + pack.hex() + " was verified in this epoch");
  }
  return PackView(Closed{.data = std::move(data), .present = std::move(present)});
}

bool PackView::present(uint64_t offset, uint64_t length) const {
  if (open_) return open_->present(offset, length);
  const uint64_t size = plain_size();
  if (offset > size || length > size - offset) return false;
  const auto range = pages_of(offset, length);
  return closed_->present.all(Bits::present, range.offset / kPageBytes, range.length / kPageBytes);
}

uint64_t PackView::present_bytes() const {
  if (open_) return open_->present_bytes();
  return closed_->present.count(Bits::present, 0, closed_->present.header().pages()) * kPageBytes;
}

Result<> PackView::read(uint64_t offset, char* to, size_t size) const {
  if (open_) return open_->read(offset, to, size);
  while (size > 0) {
    const ssize_t got = ::pread(closed_->data.get(), to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read a cached pack", errno);
    if (got == 0) return fail(ErrorCode::corrupt, "a cached pack has become shorter");
    to += got;
    size -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

}  // namespace hearth::mount
