// Any bytes as a layer blob: detection of compression, decompression, tar reader. Nothing may crash, hang or take
// memory without bound; what is accepted keeps the promises of TarEntry.
#include "base/result.hpp"
#include "mend_tar.hpp"
#include "oci/decompress.hpp"
#include "oci/tar_reader.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

/// Fuzzed archives may unpack to much: enough is enough.
class Limited final : public hearth::oci::ByteSource {
 public:
  explicit Limited(hearth::oci::ByteSource& inner) : inner_(inner) {}
  hearth::Result<size_t> read(char* to, size_t size) override {
    TRY(const size_t got, inner_.read(to, size));
    bytes_ += got;
    if (bytes_ > (4u << 20u)) return hearth::fail(hearth::ErrorCode::exhausted, "enough");
    return got;
  }

 private:
  hearth::oci::ByteSource& inner_;
  size_t bytes_ = 0;
};

void check(const hearth::oci::TarEntry& entry) {
  CHECK_PROMISE(!entry.path.empty() && !entry.path.contains('\0'));
  CHECK_PROMISE(entry.attributes.mode <= 07777 && entry.attributes.uid <= hearth::oci::kMaxId &&
                entry.attributes.gid <= hearth::oci::kMaxId);
  CHECK_PROMISE(entry.attributes.mtime.nanoseconds < 1'000'000'000);
  uint64_t end = 0;
  for (const auto& segment : entry.segments) {
    CHECK_PROMISE(segment.length > 0 && segment.offset >= end);
    end = segment.offset + segment.length;
    CHECK_PROMISE(end <= entry.size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  mend_tar_checksums(bytes, 0);
  hearth::oci::StringSource source(std::move(bytes));
  auto plain = hearth::oci::Decompressor::open(source);
  if (!plain) return 0;
  Limited limited(**plain);
  hearth::oci::TarReader tar(limited, {.entries = 1000, .extended_bytes = 100'000, .segments = 10'000});
  for (;;) {
    auto entry = tar.next();
    if (!entry || !*entry) return 0;
    check(**entry);
    uint64_t promised = 0;
    for (const auto& segment : (*entry)->segments) promised += segment.length;
    uint64_t stored = 0;
    char buffer[4096];
    for (;;) {
      const auto got = tar.read(buffer, sizeof buffer);
      if (!got) return 0;
      if (*got == 0) break;
      stored += *got;
    }
    const bool regular = !(*entry)->hard_link && (*entry)->type == hearth::oci::FileType::regular;
    CHECK_PROMISE(!regular || stored == promised);
  }
}
