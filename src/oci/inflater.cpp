#include "oci/inflater.hpp"

#include <zlib.h>

#include <algorithm>
#include <new>

namespace hearth::oci {

namespace {

constexpr size_t kMaxStepBytes = size_t{1} << 30;  // zlib counts in 32 bits

class ZlibInflater final : public Inflater {
 public:
  ZlibInflater() { CHECK_PROMISE(::inflateInit2(&stream_, -15) == Z_OK); }  // negative: no header, no trailer
  ~ZlibInflater() override { ::inflateEnd(&stream_); }
  ZlibInflater(const ZlibInflater&) = delete;
  ZlibInflater& operator=(const ZlibInflater&) = delete;

  Result<Step> step(std::string_view in, char* to, size_t size) override {
    in = in.substr(0, kMaxStepBytes);
    size = std::min(size, kMaxStepBytes);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib does not write to it
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(size);
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    if (status != Z_OK && status != Z_BUF_ERROR && status != Z_STREAM_END) {
      return fail(ErrorCode::corrupt,
                  std::string("damaged gzip stream: ") + (stream_.msg != nullptr ? stream_.msg : "needs a dictionary"));
    }
    return Step{.consumed = in.size() - stream_.avail_in,
                .produced = size - stream_.avail_out,
                .ended = status == Z_STREAM_END,
                .taken_too_many = {}};
  }

  void reset() override { CHECK_PROMISE(::inflateReset(&stream_) == Z_OK); }

  uint32_t crc32(uint32_t crc, std::string_view bytes) const override {
    return static_cast<uint32_t>(::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  }

 private:
  z_stream stream_{};
};

}  // namespace

std::unique_ptr<Inflater> make_inflater(InflaterKind kind) {
  if (kind == InflaterKind::fastest) {
    if (auto isal = make_isal_inflater()) return isal;
  }
  return std::make_unique<ZlibInflater>();
}

}  // namespace hearth::oci
