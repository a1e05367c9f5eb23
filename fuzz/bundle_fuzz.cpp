// Any bytes as a bundle whose head has the right name, so that the fuzzer gets past it; and whole bundles made of the
// input's own pages, damaged somewhere: no wrong byte may come out.
#include "base/little_endian.hpp"
#include "base/unique_fd.hpp"
#include "image/bundle.hpp"
#include "image/bundle_format.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using hearth::Digest;
using hearth::image::BundleDecoder;
using hearth::image::BundlePiece;
using hearth::image::kPageBytes;
using hearth::image::PageRun;
using hearth::image::PageRuns;

Digest name_of(std::string_view bytes) {
  namespace format = hearth::image::bundle_format;
  if (bytes.size() < format::kFixedBytes) return {};
  const auto head = hearth::load_le<uint64_t>(bytes, format::kHeadBytesAt);
  return head > bytes.size() ? Digest() : Digest::of(bytes.substr(0, head));
}

void feed(BundleDecoder& decoder, std::string_view bytes, size_t cut, const hearth::image::PieceSink& sink) {
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), cut);
    if (!decoder.feed(bytes.substr(0, size), sink)) break;
    bytes.remove_prefix(size);
  }
  (void)decoder.finish().has_value();
}

void decode_anything(std::string_view bytes) {
  BundleDecoder decoder(name_of(bytes));
  uint64_t given = 0;
  feed(decoder, bytes, 100, [&given](const BundlePiece& piece) -> hearth::Result<> {
    CHECK_PROMISE(!piece.bytes.empty() && piece.bytes.size() % kPageBytes == 0);
    CHECK_PROMISE(piece.first_page + piece.bytes.size() / kPageBytes <= hearth::image::kPagesPerChunk);
    given += piece.bytes.size();
    return {};
  });
  CHECK_PROMISE(decoder.head() == nullptr || given <= decoder.head()->plain_bytes);
}

/// Page p of chunk c is the fuzzer's text turned by both, repeated.
void fill_page(std::string_view text, uint32_t turn, char* to) {
  for (size_t i = 0; i < kPageBytes; ++i) to[i] = text[(i + turn) % text.size()];
}

void damage_a_bundle(std::string_view bytes) {
  if (bytes.size() < 16) return;
  const auto at = hearth::load_le<uint32_t>(bytes, 0);
  const auto flip = static_cast<char>(bytes[4] | 1);
  PageRuns runs;
  for (size_t i = 5; i < 10; ++i) {
    const auto number = static_cast<uint8_t>(bytes[i]);
    runs.push_back({number, number, static_cast<uint16_t>(1 + number % 8)});
    if (!hearth::image::is_valid(runs.back())) runs.pop_back();
  }
  const std::string_view text = bytes.substr(10);
  const auto source = [text](const PageRun& run, char* to) -> hearth::Result<> {
    for (uint32_t i = 0; i < run.pages; ++i) fill_page(text, run.chunk + run.first + i, to + size_t{i} * kPageBytes);
    return {};
  };
  const hearth::UniqueFd file(::memfd_create("bundle", MFD_CLOEXEC));
  const auto bundle = hearth::image::write_bundle(file.get(), {Digest(), runs, {}}, source, {.level = 1}).value();
  std::string object(bundle.bytes, '\0');
  CHECK_PROMISE(::pread(file.get(), object.data(), object.size(), 0) == static_cast<ssize_t>(object.size()));
  object[at % object.size()] = static_cast<char>(object[at % object.size()] ^ flip);
  BundleDecoder decoder(bundle.digest);
  feed(decoder, object, 1000, [text](const BundlePiece& piece) -> hearth::Result<> {
    for (uint32_t i = 0; i < piece.bytes.size() / kPageBytes; ++i) {
      char page[kPageBytes];
      fill_page(text, piece.chunk + piece.first_page + i, page);
      CHECK_PROMISE(std::memcmp(page, piece.bytes.data() + size_t{i} * kPageBytes, kPageBytes) == 0);
    }
    return {};
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with("HRTHBNDL")) {
    decode_anything(bytes);
  } else {
    damage_a_bundle(bytes);
  }
  return 0;
}
