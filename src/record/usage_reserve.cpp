#include "record/usage_reserve.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "record/spool.hpp"

#include <fcntl.h>

#include <array>

namespace hearth::record {
namespace {

// Slot: SHA-256 of all that follows · u64 generation · u64 has target · u64 segment · u64 offset · u64 length · text
constexpr size_t kHeaderBytes = Digest::kSize + 5 * sizeof(uint64_t);

struct Slot {
  uint64_t generation = 0;
  std::optional<FlushTarget> target;
  std::string text;
};

std::optional<Slot> read_slot(int fd, uint64_t at) {
  std::string bytes(UsageReserve::kSlotBytes, '\0');
  if (::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(bytes.size())) {
    return std::nullopt;
  }
  const std::string_view all = bytes;
  const auto field = [all](size_t i) { return load_le<uint64_t>(all, Digest::kSize + i * sizeof(uint64_t)); };
  const uint64_t length = field(4);
  if (length > UsageReserve::kSlotBytes - kHeaderBytes) return std::nullopt;
  const Digest digest = Digest::of(all.substr(Digest::kSize, kHeaderBytes - Digest::kSize + length));
  if (std::memcmp(digest.bytes().data(), all.data(), Digest::kSize) != 0) return std::nullopt;
  Slot slot{field(0), std::nullopt, std::string(all.substr(kHeaderBytes, length))};
  if (field(1) == 1) slot.target = FlushTarget{field(2), field(3)};
  return slot;
}

/// Sums rows over longer times.
UsageTable coarser(const UsageTable& table, int64_t minutes) {
  UsageTable coarse;
  for (const auto& [key, counts] : table.rows()) {
    UsageKey longer = key;
    longer.minute -= key.minute % minutes;
    coarse.add(longer, counts);
  }
  return coarse;
}

}  // namespace

Result<UsageReserve> UsageReserve::open(const std::filesystem::path& path) {
  TRY(UniqueFd fd, open_file(path, O_RDWR | O_CREAT, kSpoolFileMode));
  if (const int error = ::posix_fallocate(fd.get(), 0, 2 * kSlotBytes); error != 0) {
    return fail_errno("make room for " + path.string(), error);
  }
  UsageReserve reserve(std::move(fd));
  TRY_VOID(reserve.load());
  return reserve;
}

Result<> UsageReserve::load() {
  for (uint64_t at : {uint64_t{0}, kSlotBytes}) {
    const auto slot = read_slot(fd_.get(), at);
    if (!slot || slot->generation < generation_) continue;
    generation_ = slot->generation;
    left_target_ = slot->target;
    left_behind_.clear();
    for_each_line(slot->text, [this](std::string_view line) { left_behind_.add_line(line); });
  }
  return {};
}

Result<> UsageReserve::store(UsageTable& table, std::optional<FlushTarget> target) {
  constexpr std::array<int64_t, 3> kMinutes = {60, 24 * 60, 365 * 24 * 60};
  std::string text = table.to_lines();
  for (int64_t minutes : kMinutes) {
    if (text.size() <= kSlotBytes - kHeaderBytes) break;
    table = coarser(table, minutes);
    text = table.to_lines();
  }
  if (text.size() > kSlotBytes - kHeaderBytes) {
    return fail(ErrorCode::exhausted, "usage held back for a full disk has outgrown its reserve");
  }
  std::string body;
  append_le(body, ++generation_);
  append_le(body, uint64_t{target ? 1u : 0u});
  append_le(body, target ? target->segment : uint64_t{0});
  append_le(body, target ? target->offset : uint64_t{0});
  append_le(body, uint64_t{text.size()});
  body += text;
  const Digest digest = Digest::of(body);
  std::string slot(reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize);
  slot += body;
  const uint64_t at = (generation_ % 2) * kSlotBytes;
  for (size_t done = 0; done < slot.size();) {
    const ssize_t written = ::pwrite(fd_.get(), slot.data() + done, slot.size() - done, static_cast<off_t>(at + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno("write the usage reserve", errno);
    done += static_cast<size_t>(written);
  }
  return {};
}

}  // namespace hearth::record
