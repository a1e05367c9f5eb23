#include "oci/decompress.hpp"

#include "oci/gzip_source.hpp"
#include "oci/peeked_source.hpp"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace hearth::oci {

namespace {

constexpr size_t kMagicBytes = 6;

class PlainSource final : public Decompressor {
 public:
  explicit PlainSource(PeekedSource input) : input_(std::move(input)) {}
  Compression compression() const override { return Compression::none; }
  Result<size_t> read(char* to, size_t size) override {
    TRY(const bool more, input_.fill());
    if (!more) return size_t{0};
    const size_t count = std::min(size, input_.visible().size());
    std::memcpy(to, input_.visible().data(), count);
    input_.consume(count);
    return count;
  }

 private:
  PeekedSource input_;
};

class ZstdSource final : public Decompressor {
 public:
  explicit ZstdSource(PeekedSource input)
      : input_(std::move(input)), stream_(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
    if (!stream_) throw std::bad_alloc();
  }
  Compression compression() const override { return Compression::zstd; }

  Result<size_t> read(char* to, size_t size) override {
    ZSTD_outBuffer out{to, size, 0};
    while (out.pos == 0) {
      TRY(const bool more, input_.fill());
      // With no input left the decoder may still hold output of a frame that is complete.
      if (!more && frame_done_) break;
      const std::string_view visible = input_.visible();
      ZSTD_inBuffer in{visible.data(), visible.size(), 0};
      const size_t hint = ::ZSTD_decompressStream(stream_.get(), &out, &in);
      if (::ZSTD_isError(hint) != 0) {
        return fail(ErrorCode::corrupt, std::string("damaged zstd stream: ") + ::ZSTD_getErrorName(hint));
      }
      input_.consume(in.pos);
      frame_done_ = hint == 0;
      if (!more && out.pos == 0 && !frame_done_) return fail(ErrorCode::corrupt, "the zstd stream is cut");
    }
    return out.pos;
  }

 private:
  PeekedSource input_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  bool frame_done_ = false;
};

bool is_zstd(std::string_view magic) {
  if (magic.starts_with("\x28\xB5\x2F\xFD")) return true;
  return magic.size() >= 4 && (static_cast<unsigned char>(magic[0]) & 0xF0u) == 0x50 &&
         magic.substr(1, 3) == "\x2A\x4D\x18";  // a skippable frame comes first
}

}  // namespace

Result<std::unique_ptr<Decompressor>> Decompressor::open(ByteSource& inner) {
  PeekedSource input(inner);
  TRY(const std::string_view magic, input.peek(kMagicBytes));
  if (magic.starts_with("\x1F\x8B")) return std::make_unique<GzipSource>(std::move(input), make_inflater());
  if (is_zstd(magic)) return std::make_unique<ZstdSource>(std::move(input));
  const std::array<std::pair<std::string_view, std::string_view>, 3> others{{{"BZh", "bzip2"},
                                                                             {std::string_view("\xFD"
                                                                                               "7zXZ\0",
                                                                                               6),
                                                                              "xz"},
                                                                             {"\x04\x22\x4D\x18", "lz4"}}};
  for (const auto& [bytes, name] : others) {
    if (magic.starts_with(bytes)) {
      return fail(ErrorCode::invalid_argument,
                  "compressed with " + std::string(name) + ", which layers may not be; use gzip or zstd");
    }
  }
  return std::make_unique<PlainSource>(std::move(input));
}

}  // namespace hearth::oci
