// What importing an image costs, phase by phase and as a whole: build/bench/image_import LAYOUT STORE. Each phase alone
// runs on one thread over all layers, its input in memory where it is not the phase before; the import uses every core.
#include "base/clock.hpp"
#include "base/digest.hpp"
#include "blob/intent.hpp"
#include "image/chunk_catalogue.hpp"
#include "image/import.hpp"
#include "oci/gzip_source.hpp"
#include "oci/image_archive.hpp"
#include "oci/inflater.hpp"
#include "oci/peeked_source.hpp"
#include "oci/tar_reader.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <sys/resource.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace {

using hearth::Result;
using std::chrono::duration;
namespace image = hearth::image;
namespace oci = hearth::oci;

constexpr size_t kBlock = 256 * 1024;

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Runs a phase and prints it; `work` gives the bytes that count.
uint64_t phase(const char* name, const std::function<Result<uint64_t>()>& work) {
  const auto begin = hearth::mono_now();
  const double processor = processor_seconds();
  const auto bytes = work();
  if (!bytes) {
    fmt::print("{}: {}\n", name, bytes.error().message);
    std::exit(1);
  }
  const double wall = duration<double>(hearth::mono_now() - begin).count();
  const double busy = processor_seconds() - processor;
  const double megabytes = static_cast<double>(*bytes) / 1e6;
  fmt::print("{:26} {:8.0f} MB {:7.2f} s {:7.2f} s of processor {:7.0f} MB/s {:7.0f} MB/s of processor\n", name,
             megabytes, wall, busy, megabytes / wall, megabytes / busy);
  return *bytes;
}

Result<uint64_t> drain(oci::ByteSource& source, const std::function<void(std::string_view)>& use) {
  std::string buffer(kBlock, '\0');
  uint64_t total = 0;
  for (;;) {
    TRY(const size_t got, source.read(buffer.data(), buffer.size()));
    if (got == 0) return total;
    use(std::string_view(buffer.data(), got));
    total += got;
  }
}

/// Every layer through `use`, stored or plain.
Result<uint64_t> stored(const oci::ImageArchive& archive, const std::function<void(std::string_view)>& use) {
  uint64_t total = 0;
  for (size_t i = 0; i < archive.layers().size(); ++i) {
    TRY(const auto source, archive.open_layer(i));
    TRY(const uint64_t bytes, drain(*source, use));
    total += bytes;
  }
  return total;
}

Result<uint64_t> plain(const oci::ImageArchive& archive, oci::InflaterKind kind,
                       const std::function<Result<uint64_t>(oci::ByteSource&)>& use) {
  uint64_t total = 0;
  for (size_t i = 0; i < archive.layers().size(); ++i) {
    TRY(const auto source, archive.open_layer(i));
    oci::GzipSource gzip(oci::PeekedSource(*source), oci::make_inflater(kind));
    TRY(const uint64_t bytes, use(gzip));
    total += bytes;
  }
  return total;
}

void phases(const oci::ImageArchive& archive) {
  using oci::InflaterKind;
  const auto nothing = [](std::string_view) {};
  const auto drained = [&nothing](oci::ByteSource& source) { return drain(source, nothing); };
  phase("read", [&] { return stored(archive, nothing); });
  hearth::DigestHasher hasher;
  phase("read, sha256", [&] { return stored(archive, [&hasher](std::string_view bytes) { hasher.update(bytes); }); });
  phase("inflate by zlib", [&] { return plain(archive, InflaterKind::zlib, drained); });
  phase("inflate by ISA-L", [&] { return plain(archive, InflaterKind::fastest, drained); });
  phase("inflate, read the tar", [&] {
    return plain(archive, InflaterKind::fastest, [&](oci::ByteSource& source) -> Result<uint64_t> {
      oci::TarReader tar(source);
      std::string buffer(image::kChunkBytes, '\0');
      uint64_t total = 0;
      for (;;) {
        TRY(const auto entry, tar.next());
        if (!entry) return total;
        for (;;) {
          TRY(const size_t got, tar.read(buffer.data(), buffer.size()));
          if (got == 0) break;
          total += got;
        }
      }
    });
  });
  // What comes next works on pieces in memory: the first half gigabyte of the tars.
  std::vector<std::string> pieces;
  (void)plain(archive, InflaterKind::fastest, [&pieces](oci::ByteSource& source) {
    return drain(source, [&pieces](std::string_view bytes) {
      if (pieces.size() < 2048) pieces.emplace_back(bytes);
    });
  });
  uint64_t bytes = 0;
  for (const std::string& piece : pieces) bytes += piece.size();
  phase("sha256", [&]() -> Result<uint64_t> {
    for (const std::string& piece : pieces) (void)hearth::Digest::of(piece);
    return bytes;
  });
  phase("sha256 of 64 KiB", [&]() -> Result<uint64_t> {
    for (const std::string_view piece : pieces) {
      for (size_t at = 0; at < piece.size(); at += image::kBlockBytes)
        (void)hearth::Digest::of(piece.substr(at, image::kBlockBytes));
    }
    return bytes;
  });
  phase("sha256 of 1 KiB", [&]() -> Result<uint64_t> {
    for (const std::string_view piece : pieces) {
      for (size_t at = 0; at < piece.size(); at += 1024) (void)hearth::Digest::of(piece.substr(at, 1024));
    }
    return bytes;
  });
  uint64_t packed = 0;
  phase("zstd level 1", [&]() -> Result<uint64_t> {
    ZSTD_CCtx* context = ::ZSTD_createCCtx();
    std::string to(::ZSTD_compressBound(kBlock), '\0');
    for (const std::string& piece : pieces)
      packed += ::ZSTD_compressCCtx(context, to.data(), to.size(), piece.data(), piece.size(), 1);
    ::ZSTD_freeCCtx(context);
    return bytes;
  });
  fmt::print("zstd level 1 in blocks of 256 KiB: {:.2f} times smaller\n",
             static_cast<double>(bytes) / static_cast<double>(packed));
}

Result<uint64_t> import(const std::string& layout, const std::string& store_path) {
  TRY(auto store, hearth::blob::open_store(store_path, hearth::blob::IfMissing::create));
  TRY(auto intent, hearth::blob::Intent::begin(store, {.workspace = "bench", .owner = "bench"}));
  TRY(auto catalogue, image::ChunkCatalogue::open(std::filesystem::path(store_path) / "catalogue"));
  TRY(const auto record, image::import_image(store, image::StoreScope::workspace("bench"), {.path = layout},
                                             {.intent = intent, .catalogue = catalogue}));
  fmt::print(
      "layer {}: {} entries, {} chunks, {} packs, {:.0f} MB stored, {:.0f} MB new, {:.0f} MB shared, index {:.1f} MB\n",
      record.layer.digest.hex().substr(0, 12), record.layer.entries, record.layer.chunks, record.layer.packs,
      static_cast<double>(record.layer.stored_bytes) / 1e6, static_cast<double>(record.layer.new_bytes) / 1e6,
      static_cast<double>(record.layer.shared_bytes) / 1e6, static_cast<double>(record.layer.index_bytes) / 1e6);
  return record.layer.content_bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print("usage: {} OCI-LAYOUT EMPTY-STORE [phases]\n", argv[0]);
    return 2;
  }
  const auto archive = oci::open_oci_layout(argv[1], "");
  if (!archive) {
    fmt::print("{}\n", archive.error().message);
    return 1;
  }
  if (argc > 3) phases(**archive);
  phase("import", [argv] { return import(argv[1], argv[2]); });
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print("memory at most {} MB\n", usage.ru_maxrss / 1000);
  phase("import again", [argv] { return import(argv[1], argv[2]); });
  return 0;
}
