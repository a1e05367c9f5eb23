#include "oci/gzip_source.hpp"

#include <algorithm>

namespace hearth::oci {

namespace {

constexpr uint8_t kDeflate = 8;
constexpr unsigned kHasHeaderCrc = 2, kHasExtra = 4, kHasName = 8, kHasComment = 16, kUnknownFlags = 0xE0;

Unexpected damaged(std::string_view why) {
  return fail(ErrorCode::corrupt, "damaged gzip stream: " + std::string(why));
}

}  // namespace

Result<size_t> GzipSource::read(char* to, size_t size) {
  for (;;) {
    if (at_ == At::end) return size_t{0};
    if (at_ == At::member) {
      TRY_VOID(begin_member());
      continue;
    }
    TRY(const bool more, input_.fill());
    TRY(const Inflater::Step step, inflater_->step(input_.visible(), to, size));
    input_.consume(step.consumed);
    crc_ = inflater_->crc32(crc_, std::string_view(to, step.produced));
    length_ += static_cast<uint32_t>(step.produced);
    if (step.ended) {
      input_.put_back(step.taken_too_many);
      TRY_VOID(check_trailer());
      at_ = At::member;
    } else if (!more && step.produced == 0) {
      return fail(ErrorCode::corrupt, "the gzip stream is cut");
    }
    if (step.produced > 0) return step.produced;
  }
}

Result<uint8_t> GzipSource::take_byte() {
  TRY(const bool more, input_.fill());
  if (!more) return fail(ErrorCode::corrupt, "the gzip stream is cut");
  const std::string_view byte = input_.visible().substr(0, 1);
  header_crc_ = inflater_->crc32(header_crc_, byte);
  const auto value = static_cast<uint8_t>(byte.front());
  input_.consume(1);
  return value;
}

/// Little-endian.
Result<uint32_t> GzipSource::take_number(int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    TRY(const uint8_t byte, take_byte());
    value |= uint32_t{byte} << (8 * i);
  }
  return value;
}

Result<> GzipSource::skip(uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) TRY_VOID(take_byte());
  return {};
}

Result<> GzipSource::skip_text() {
  for (;;) {
    TRY(const uint8_t byte, take_byte());
    if (byte == 0) return {};
  }
}

/// After a member: another one, or zeros to the end (as tapes and block copies leave them).
Result<> GzipSource::begin_member() {
  TRY(bool more, input_.fill());
  if (is_first_ || (more && input_.visible().front() != '\0')) {
    is_first_ = false;
    return read_header();
  }
  while (more) {
    if (input_.visible().find_first_not_of('\0') != std::string_view::npos) {
      return fail(ErrorCode::corrupt, "bytes that are not gzip follow the last gzip member");
    }
    input_.consume(input_.visible().size());
    TRY(more, input_.fill());
  }
  at_ = At::end;
  return {};
}

Result<> GzipSource::read_header() {
  header_crc_ = 0;
  TRY(const uint32_t magic, take_number(2));
  if (magic != 0x8B1F) return damaged("no gzip header");
  TRY(const uint8_t method, take_byte());
  if (method != kDeflate) return damaged("unknown compression method");
  TRY(const uint8_t flags, take_byte());
  if ((flags & kUnknownFlags) != 0) return damaged("unknown header flags");
  TRY_VOID(skip(6));  // time, extra flags, operating system
  if ((flags & kHasExtra) != 0) {
    TRY(const uint32_t extra, take_number(2));
    TRY_VOID(skip(extra));
  }
  if ((flags & kHasName) != 0) TRY_VOID(skip_text());
  if ((flags & kHasComment) != 0) TRY_VOID(skip_text());
  if ((flags & kHasHeaderCrc) != 0) {
    const uint32_t expected = header_crc_ & 0xFFFF;
    TRY(const uint32_t stored, take_number(2));
    if (stored != expected) return damaged("the header does not match its checksum");
  }
  inflater_->reset();
  crc_ = 0;
  length_ = 0;
  at_ = At::stream;
  return {};
}

Result<> GzipSource::check_trailer() {
  TRY(const uint32_t crc, take_number(4));
  if (crc != crc_) return damaged("the content does not match its checksum");
  TRY(const uint32_t length, take_number(4));
  if (length != length_) return damaged("the content does not have its length");
  return {};
}

}  // namespace hearth::oci
