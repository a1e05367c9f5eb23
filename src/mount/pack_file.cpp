#include "mount/pack_file.hpp"

#include "base/file.hpp"
#include "base/log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hearth::mount {

namespace {

using Bits = PresentMap::Bits;

uint64_t pages(uint64_t bytes) {
  return bytes / kPageBytes;
}

bool is_full(int errno_value) {
  return errno_value == ENOSPC || errno_value == EDQUOT;
}

/// Opens the data file and makes it as long as the plain space is. `fresh`: nothing in it means anything.
struct OpenedData {
  UniqueFd fd;
  bool fresh = false;
};
Result<OpenedData> open_data(const std::filesystem::path& path, uint64_t plain_size, UniqueFd given) {
  OpenedData opened{.fd = std::move(given)};
  if (!opened.fd) {
    TRY(opened.fd, open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  }
  struct stat info{};
  if (::fstat(opened.fd.get(), &info) != 0) return fail_errno("look at " + path.string(), errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid_argument, path.string() + " is no regular file");
  if (static_cast<uint64_t>(info.st_size) == plain_size) return opened;
  // New, or cut by somebody: then nobody knows what else happened to it.
  opened.fresh = true;
  if (info.st_size != 0) log_warning("a file of the cache has changed its size", {{"file", path.string()}});
  if (::ftruncate(opened.fd.get(), static_cast<off_t>(plain_size)) != 0) {
    return fail_errno("make " + path.string() + " as long as its pack", errno);
  }
  return opened;
}

Result<PresentHeader> header_for(const image::PackInfo& info, const Digest& epoch, int data) {
  struct statx facts{};
  if (::statx(data, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &facts) != 0) {
    return fail_errno("look at the data file of pack " + info.digest.hex(), errno);
  }
  PresentHeader header{.pack = info.digest, .plain_size = info.plain_size, .epoch = epoch, .data_inode = facts.stx_ino};
  if ((facts.stx_mask & STATX_BTIME) != 0) {
    header.birth_seconds = facts.stx_btime.tv_sec;
    header.birth_nanoseconds = facts.stx_btime.tv_nsec;
  }
  return header;
}

}  // namespace

Result<std::shared_ptr<PackFile>> PackFile::open(const image::PackInfo& info, Place place, UniqueFd data) {
  if (info.plain_size == 0 || info.plain_size % kPageBytes != 0 || info.plain_size > image::kPackPlainBytes) {
    return fail(ErrorCode::invalid_argument, "pack " + info.digest.hex() + " has no plain space to be mapped");
  }
  TRY(auto opened, open_data(place.data, info.plain_size, std::move(data)));
  if (opened.fresh) ::unlink(place.present.c_str());
  TRY(const auto header, header_for(info, place.epoch, opened.fd.get()));
  TRY(auto present, open_presence(header, place));
  auto file = std::shared_ptr<PackFile>(new PackFile(info, std::move(place), std::move(opened.fd), std::move(present)));
  file->touch();
  return file;
}

/// The bitmap of an earlier life of this process is taken as it is; one of another epoch, or of another data file, only
/// tells what may be worth a look.
Result<PresentMap> PackFile::open_presence(const PresentHeader& header, const Place& place) {
  auto known = PresentMap::open(place.present);
  if (known && known->header() == header) return known;
  if (!known && known.error().code != ErrorCode::not_found && known.error().code != ErrorCode::corrupt) return known;
  if (!known && known.error().code == ErrorCode::corrupt) {
    log_warning("what was known of a cached pack is lost",
                {{"pack", header.pack.hex()}, {"error", known.error().message}});
  }
  TRY(auto fresh, PresentMap::create(place.present, header));
  if (known && known->header().pack == header.pack && known->header().plain_size == header.plain_size) {
    fresh.take_as_candidates(*known);
  }
  return fresh;
}

PackFile::PackFile(const image::PackInfo& info, Place place, UniqueFd data, PresentMap present)
    : digest_(info.digest),
      plain_size_(info.plain_size),
      place_(std::move(place)),
      data_(std::move(data)),
      present_(std::move(present)) {
  CHECK_PROMISE(place_.io != nullptr);
}

PackFile::~PackFile() {
  touch();
  if (place_.room) place_.room->closed(digest_, allocated_bytes());
}

PageRange PackFile::inside(uint64_t offset, uint64_t length) const {
  if (offset >= plain_size_) return {plain_size_, 0};
  return overlap(pages_of(offset, std::min(length, plain_size_ - offset)), all());
}

bool PackFile::present(uint64_t offset, uint64_t length) const {
  if (offset > plain_size_ || length > plain_size_ - offset) return false;
  const auto range = inside(offset, length);
  return present_.all(Bits::present, pages(range.offset), pages(range.length));
}

std::vector<PageRange> PackFile::missing(uint64_t offset, uint64_t length) const {
  const auto range = inside(offset, length);
  std::vector<PageRange> result;
  for (uint64_t at = range.offset; at < range.end(); at += kPageBytes) {
    if (present_.test(Bits::present, pages(at))) continue;
    if (!result.empty() && result.back().end() == at) {
      result.back().length += kPageBytes;
    } else {
      result.push_back({at, kPageBytes});
    }
  }
  return result;
}

bool PackFile::on_disk(const PageRange& range) const {
  for (uint64_t page = pages(range.offset); page < pages(range.end()); ++page) {
    if (!present_.test(Bits::present, page) && !present_.test(Bits::candidates, page)) return false;
  }
  return true;
}

bool PackFile::has_candidates(const PageRange& range) const {
  return present_.count(Bits::candidates, pages(range.offset), pages(range.length)) > 0;
}

uint64_t PackFile::present_bytes() const {
  return present_.count(Bits::present, 0, pages(plain_size_)) * kPageBytes;
}

Result<> PackFile::check_pages(uint64_t offset, std::string_view bytes) const {
  if (offset % kPageBytes == 0 && !bytes.empty() && offset <= plain_size_ && bytes.size() <= plain_size_ - offset) {
    return {};
  }
  return fail(ErrorCode::invalid_argument, "bytes that are no pages of pack " + digest_.hex());
}

Result<> PackFile::store(uint64_t offset, std::string_view bytes) {
  TRY_VOID(check_pages(offset, bytes));
  TRY_VOID(write(offset, bytes));
  confirm(pages_of(offset, bytes.size()));
  return {};
}

Result<> PackFile::store_as_candidate(uint64_t offset, std::string_view bytes) {
  TRY_VOID(check_pages(offset, bytes));
  const auto range = pages_of(offset, bytes.size());
  TRY_VOID(write(offset, bytes));
  const std::lock_guard lock(mutex_);
  for (uint64_t page = pages(range.offset); page < pages(range.end()); ++page) {
    if (!present_.test(Bits::present, page)) present_.set(Bits::candidates, page, 1);
  }
  return {};
}

Result<> PackFile::write(uint64_t offset, std::string_view bytes) {
  static constexpr std::array<char, kPageBytes> kZeros{};
  const std::string_view padding(kZeros.data(), image::round_up_to_page(bytes.size()) - bytes.size());
  const auto range = pages_of(offset, bytes.size());
  const bool fills_holes = !on_disk(range);
  TRY_VOID(write_once(offset, bytes));
  TRY_VOID(write_once(offset + bytes.size(), padding));
  unsynced_.store(true, std::memory_order_release);
  if (fills_holes && place_.room) place_.room->stored(range.length);
  return {};
}

Result<> PackFile::write_once(uint64_t offset, std::string_view bytes) {
  bool made_room = false;
  while (!bytes.empty()) {
    const ssize_t wrote = place_.io->pwrite(data_.get(), bytes.data(), bytes.size(), offset);
    if (wrote > 0) {
      bytes.remove_prefix(static_cast<size_t>(wrote));
      offset += static_cast<uint64_t>(wrote);
      continue;
    }
    const int error = wrote == 0 ? EIO : errno;
    if (error == EINTR) continue;
    if (is_full(error) && !made_room && place_.room && place_.room->make_room(bytes.size())) {
      made_room = true;
      continue;
    }
    if (error == EIO && place_.room) place_.room->disk_failed("write " + place_.data.string());
    return fail_errno("write " + place_.data.string(), error);
  }
  return {};
}

void PackFile::confirm(const PageRange& range) {
  std::unique_lock lock(mutex_);
  chunks_.for_each_overlap(range, [this](const PageRange& shared) {
    const uint64_t count = pages(shared.length);
    missing_pages_ -= count - present_.count(Bits::present, pages(shared.offset), count);
  });
  present_.set(Bits::present, pages(range.offset), pages(range.length));
  present_.clear(Bits::candidates, pages(range.offset), pages(range.length));
  finish_change(lock);
}

void PackFile::distrust(const PageRange& range) {
  std::unique_lock lock(mutex_);
  chunks_.for_each_overlap(range, [this](const PageRange& shared) {
    missing_pages_ += present_.count(Bits::present, pages(shared.offset), pages(shared.length));
  });
  present_.clear(Bits::present, pages(range.offset), pages(range.length));
  present_.clear(Bits::candidates, pages(range.offset), pages(range.length));
  finish_change(lock);
}

void PackFile::drop_candidates(const PageRange& range) {
  present_.clear(Bits::candidates, pages(range.offset), pages(range.length));
}

Result<> PackFile::read(uint64_t offset, char* to, size_t size) const {
  while (size > 0) {
    const ssize_t got = place_.io->pread(data_.get(), to, size, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      if (errno == EIO && place_.room) place_.room->disk_failed("read " + place_.data.string());
      return fail_errno("read " + place_.data.string(), errno);
    }
    if (got == 0) return fail(ErrorCode::corrupt, place_.data.string() + " has become shorter");
    to += got;
    size -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

Result<> PackFile::sync() {
  const std::lock_guard one_at_a_time(sync_mutex_);
  if (!unsynced_.exchange(false, std::memory_order_acq_rel)) return {};
  if (place_.io->fdatasync(data_.get()) == 0) return {};
  const int error = errno;
  {
    std::unique_lock lock(mutex_);
    present_.doubt_all();
    revision_.fetch_add(1, std::memory_order_acq_rel);
    count_missing();
    finish_change(lock);
  }
  drop_page_cache(all());
  if (place_.room) place_.room->disk_failed("write back " + place_.data.string());
  return fail_errno("write back " + place_.data.string(), error);
}

void PackFile::drop_page_cache(const PageRange& range) const {
  ::posix_fadvise(data_.get(), static_cast<off_t>(range.offset), static_cast<off_t>(range.length), POSIX_FADV_DONTNEED);
}

Result<> PackFile::add_layer(std::shared_ptr<const LayerChunks> layer, uint32_t pack) {
  const auto info = layer->index().pack(pack);
  CHECK_PROMISE(info.digest == digest_);
  if (info.plain_size != plain_size_) {
    return fail(ErrorCode::corrupt, "layer " + layer->index().digest().to_string() + " gives pack " + digest_.hex() +
                                        " another size than a layer before it");
  }
  std::unique_lock lock(mutex_);
  TRY_VOID(chunks_.add(std::move(layer), pack));
  has_layers_ = true;
  revision_.fetch_add(1, std::memory_order_acq_rel);
  count_missing();
  finish_change(lock);
  return {};
}

void PackFile::remove_layer(const LayerChunks& layer) {
  std::unique_lock lock(mutex_);
  chunks_.remove(layer);
  count_missing();
  has_layers_ = chunks_.layer_count() > 0;
  complete_.store(missing_pages_ == 0 && has_layers_, std::memory_order_release);  // fewer chunks: nobody need be told
}

std::vector<PackChunk> PackFile::chunks(const PageRange& range) const {
  const std::lock_guard lock(mutex_);
  return chunks_.overlapping(range);
}

bool PackFile::covers(const PageRange& range) const {
  const std::lock_guard lock(mutex_);
  return chunks_.covers(range);
}

std::vector<image::StoreScope> PackFile::scopes() const {
  const std::lock_guard lock(mutex_);
  return chunks_.scopes();
}

uint64_t PackFile::missing_bytes() const {
  const std::lock_guard lock(mutex_);
  return missing_pages_ * kPageBytes;
}

void PackFile::on_complete(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  on_complete_ = std::move(call);
}

void PackFile::count_missing() {
  missing_pages_ = 0;
  chunks_.for_each_overlap(all(), [this](const PageRange& chunk) {
    const uint64_t count = pages(chunk.length);
    missing_pages_ += count - present_.count(Bits::present, pages(chunk.offset), count);
  });
}

/// Ends a change of presence or chunks; gives the lock back.
void PackFile::finish_change(std::unique_lock<std::mutex>& lock) {
  const bool complete = missing_pages_ == 0 && has_layers_;
  const bool was = complete_.exchange(complete, std::memory_order_acq_rel);
  const auto call = complete && !was ? on_complete_ : nullptr;
  lock.unlock();
  if (call) call();
}

void PackFile::set_next(const std::shared_ptr<PackFile>& next) {
  const std::lock_guard lock(mutex_);
  next_ = next;
}

std::shared_ptr<PackFile> PackFile::next() const {
  const std::lock_guard lock(mutex_);
  return next_.lock();
}

uint64_t PackFile::allocated_bytes() const {
  struct stat info{};
  if (::fstat(data_.get(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

}  // namespace hearth::mount
