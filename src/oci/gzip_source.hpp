// The plain bytes of a gzip file (RFC 1952): any number of members, every header field, zeros after the last one.
#pragma once

#include "oci/decompress.hpp"
#include "oci/inflater.hpp"
#include "oci/peeked_source.hpp"

#include <cstdint>
#include <memory>

namespace hearth::oci {

class GzipSource final : public Decompressor {
 public:
  GzipSource(PeekedSource input, std::unique_ptr<Inflater> inflater)
      : input_(std::move(input)), inflater_(std::move(inflater)) {}
  Compression compression() const override { return Compression::gzip; }
  Result<size_t> read(char* to, size_t size) override;

 private:
  enum class At { member, stream, end };

  Result<uint8_t> take_byte();
  Result<uint32_t> take_number(int bytes);
  Result<> skip(uint64_t bytes);
  Result<> skip_text();
  Result<> begin_member();
  Result<> read_header();
  Result<> check_trailer();

  PeekedSource input_;
  std::unique_ptr<Inflater> inflater_;
  At at_ = At::member;
  bool is_first_ = true;
  uint32_t header_crc_ = 0;
  uint32_t crc_ = 0;     // of this member's plain bytes
  uint32_t length_ = 0;  // the same, modulo 2³²
};

}  // namespace hearth::oci
