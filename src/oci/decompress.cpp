#include "oci/decompress.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace hearth::oci {

namespace {

constexpr size_t kInputBytes = 128 * 1024;
constexpr size_t kMagicBytes = 6;

/// Input with the bytes that were looked at for detection put back in front.
class Input {
 public:
  explicit Input(ByteSource& source) : source_(source), buffer_(kInputBytes, '\0') {}

  /// Makes at least one byte visible unless the source has ended.
  Result<bool> fill() {
    if (begin_ < end_) return true;
    TRY(const size_t got, source_.read(buffer_.data(), buffer_.size()));
    begin_ = 0;
    end_ = got;
    return got > 0;
  }
  /// Makes `count` bytes visible if there are so many; only before anything was consumed.
  Result<std::string_view> peek(size_t count) {
    TRY(const size_t got, read_fully(source_, buffer_.data() + end_, count - (end_ - begin_)));
    end_ += got;
    return visible();
  }
  std::string_view visible() const { return std::string_view(buffer_).substr(begin_, end_ - begin_); }
  void consume(size_t count) { begin_ += count; }

 private:
  ByteSource& source_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

class PlainSource final : public Decompressor {
 public:
  explicit PlainSource(Input input) : input_(std::move(input)) {}
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
  Input input_;
};

class GzipSource final : public Decompressor {
 public:
  explicit GzipSource(Input input) : input_(std::move(input)) {
    CHECK_PROMISE(::inflateInit2(&stream_, 15 + 16) == Z_OK);  // 16: gzip wrapper, its checksum and length checked
  }
  ~GzipSource() override { ::inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  Compression compression() const override { return Compression::gzip; }

  Result<size_t> read(char* to, size_t size) override {
    const size_t wanted = std::min<size_t>(size, 1u << 30);
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(wanted);
    while (stream_.avail_out == wanted && !ended_) {
      TRY(const bool more, input_.fill());
      if (!in_member_) {
        if (!more) {
          ended_ = true;
          break;
        }
        TRY_VOID(begin_member());
        continue;
      }
      if (!more) return fail(ErrorCode::corrupt, "the gzip stream is cut");
      TRY_VOID(inflate_some());
    }
    return wanted - stream_.avail_out;
  }

 private:
  /// After a member: another one, or zeros to the end (as tapes and block copies leave them).
  Result<> begin_member() {
    if (input_.visible().front() != '\0') {
      in_member_ = true;
      return {};
    }
    for (;;) {
      if (input_.visible().find_first_not_of('\0') != std::string_view::npos) {
        return fail(ErrorCode::corrupt, "bytes that are not gzip follow the last gzip member");
      }
      input_.consume(input_.visible().size());
      TRY(const bool more, input_.fill());
      if (!more) return {};
    }
  }

  Result<> inflate_some() {
    const std::string_view in = input_.visible();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib does not write to it
    stream_.avail_in = static_cast<uInt>(in.size());
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    input_.consume(in.size() - stream_.avail_in);
    if (status == Z_STREAM_END) {
      in_member_ = false;
      CHECK_PROMISE(::inflateReset(&stream_) == Z_OK);
      return {};
    }
    if (status == Z_OK || status == Z_BUF_ERROR) return {};
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    return fail(ErrorCode::corrupt,
                std::string("damaged gzip stream: ") + (stream_.msg != nullptr ? stream_.msg : "needs a dictionary"));
  }

  Input input_;
  z_stream stream_{};
  bool in_member_ = true;
  bool ended_ = false;
};

class ZstdSource final : public Decompressor {
 public:
  explicit ZstdSource(Input input) : input_(std::move(input)), stream_(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
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
  Input input_;
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
  Input input(inner);
  TRY(const std::string_view magic, input.peek(kMagicBytes));
  if (magic.starts_with("\x1F\x8B")) return std::make_unique<GzipSource>(std::move(input));
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
