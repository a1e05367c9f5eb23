#include "image/bundle.hpp"

#include "base/random_id.hpp"
#include "base/unique_fd.hpp"
#include "image/bundle_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;

/// Bytes of a page that differ from page to page and compress a little.
std::string page_bytes(uint32_t chunk, uint32_t page) {
  std::minstd_rand random(chunk * 1000 + page + 1);
  std::string bytes(kPageBytes, '\0');
  for (size_t i = 0; i < bytes.size() / 2; ++i) bytes[i] = static_cast<char>(random() % 256);
  return bytes;
}

Result<> source(const PageRun& run, char* to) {
  for (uint32_t i = 0; i < run.pages; ++i) {
    std::memcpy(to + size_t{i} * kPageBytes, page_bytes(run.chunk, run.first + i).data(), kPageBytes);
  }
  return {};
}

struct Written {
  std::string bytes;
  BundleRef bundle;
};

Written write(const PageRuns& runs, const StartHistory& history) {
  const UniqueFd file(::memfd_create("bundle", MFD_CLOEXEC));
  Written written;
  written.bundle = write_bundle(file.get(), {Digest::of("layer"), runs, history}, source).value();
  written.bytes.resize(written.bundle.bytes);
  EXPECT_EQ(::pread(file.get(), written.bytes.data(), written.bytes.size() + 1, 0),
            static_cast<ssize_t>(written.bytes.size()));
  return written;
}

/// Several blocks, with runs across their ends.
PageRuns many_runs() {
  PageRuns runs = {{3, 250, 6}, {3, 0, 1}, {1, 0, 256}};
  for (uint16_t i = 0; i < 60; ++i) runs.push_back({10, static_cast<uint16_t>(4 * i), 1});
  return runs;
}

StartHistory history_of(const PageRuns& runs) {
  StartHistory history;
  remember(history, runs);
  return history;
}

/// Feeds in cuts of random length; checks that what comes out are the right pages in the right order.
struct Reader {
  explicit Reader(const Digest& name) : decoder(name) {}
  Result<> feed(std::string_view bytes, size_t cut) {
    while (!bytes.empty()) {
      const size_t size = std::min(bytes.size(), cut);
      TRY_VOID(decoder.feed(bytes.substr(0, size), [this](const BundlePiece& piece) { return take(piece); }));
      bytes.remove_prefix(size);
    }
    return decoder.finish();
  }
  Result<> take(const BundlePiece& piece) {
    EXPECT_EQ(piece.bytes.size() % kPageBytes, 0U);
    EXPECT_FALSE(piece.bytes.empty());
    for (size_t i = 0; i < piece.bytes.size() / kPageBytes; ++i) {
      const auto page = piece.first_page + static_cast<uint32_t>(i);
      EXPECT_EQ(piece.bytes.substr(i * kPageBytes, kPageBytes), page_bytes(piece.chunk, page));
      order.emplace_back(piece.chunk, page);
    }
    return {};
  }
  BundleDecoder decoder;
  std::vector<std::pair<uint32_t, uint32_t>> order;
};

std::vector<std::pair<uint32_t, uint32_t>> order_of(const PageRuns& runs) {
  std::vector<std::pair<uint32_t, uint32_t>> order;
  for (const PageRun& run : runs) {
    for (uint32_t i = 0; i < run.pages; ++i) order.emplace_back(run.chunk, run.first + i);
  }
  return order;
}

TEST(Bundle, GivesBackItsPagesInOrderWhateverTheCut) {
  const PageRuns runs = many_runs();
  const Written written = write(runs, history_of(runs));
  for (const size_t cut : {size_t{1000}, size_t{1}, size_t{65536}, written.bytes.size()}) {
    Reader reader(written.bundle.digest);
    ASSERT_TRUE(reader.feed(written.bytes, cut)) << "cut " << cut;
    EXPECT_EQ(reader.order, order_of(runs));
    EXPECT_EQ(reader.decoder.head()->runs, runs);
    EXPECT_EQ(reader.decoder.head()->layer, Digest::of("layer"));
    EXPECT_EQ(reader.decoder.plain_bytes_given(), written.bundle.plain_bytes);
  }
}

TEST(Bundle, IsWholeWithoutItsHistory) {
  const Written written = write(many_runs(), history_of(many_runs()));
  Reader reader(written.bundle.digest);
  EXPECT_TRUE(reader.feed(std::string_view(written.bytes).substr(0, written.bundle.streamed_bytes), 5000));
  EXPECT_EQ(decode_history(std::string_view(written.bytes).substr(written.bundle.streamed_bytes)).value(),
            history_of(many_runs()));
}

TEST(Bundle, MayBeEmpty) {
  const Written written = write({}, {});
  Reader reader(written.bundle.digest);
  EXPECT_TRUE(reader.feed(written.bytes, 7));
  EXPECT_TRUE(reader.order.empty());
}

TEST(Bundle, PagesArriveBeforeTheEndOfTheObject) {
  const Written written = write(many_runs(), {});
  Reader reader(written.bundle.digest);
  (void)reader.feed(std::string_view(written.bytes).substr(0, written.bundle.streamed_bytes / 2), 4096);
  EXPECT_GT(reader.order.size(), order_of(many_runs()).size() / 3);
}

TEST(Bundle, AFlippedBitAnywhereIsNoticedAndNoWrongByteComesOut) {
  const Written written = write(many_runs(), history_of(many_runs()));
  std::minstd_rand random(1);
  for (int i = 0; i < 160; ++i) {
    std::string bad = written.bytes;
    const size_t at = i < 80 ? static_cast<size_t>(i) : random() % bad.size();
    bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    Reader reader(written.bundle.digest);  // take() compares every page that comes out
    const auto done = reader.feed(bad, 8192);
    // zstd's own framing has bits without meaning; then all pages came out right.
    if (done) {
      EXPECT_EQ(reader.order, order_of(many_runs())) << "bit in byte " << at;
    } else {
      EXPECT_EQ(done.error().code, ErrorCode::corrupt);
    }
  }
}

TEST(Bundle, ACutOneIsNotWhole) {
  const Written written = write(many_runs(), history_of(many_runs()));
  for (const size_t size : {size_t{0}, size_t{50}, bundle_format::kFixedBytes, size_t{900},
                            static_cast<size_t>(written.bundle.streamed_bytes) - 1, written.bytes.size() - 1}) {
    Reader reader(written.bundle.digest);
    EXPECT_EQ(reader.feed(std::string_view(written.bytes).substr(0, size), 4096).error().code, ErrorCode::corrupt)
        << size;
  }
  Reader reader(written.bundle.digest);
  EXPECT_THAT(reader.feed(written.bytes + "x", 4096).error().message, HasSubstr("after its end"));
}

TEST(Bundle, AnotherOneThanWasNamedGivesNothing) {
  const Written written = write(many_runs(), {});
  Reader reader(Digest::of("another"));
  EXPECT_THAT(reader.feed(written.bytes, 4096).error().message, HasSubstr("does not match its name"));
  EXPECT_TRUE(reader.order.empty());
}

TEST(Bundle, AfterAnErrorNothingMoreComesOut) {
  const Written written = write(many_runs(), {});
  BundleDecoder decoder(written.bundle.digest);
  int calls = 0;
  const auto full = [&calls](const BundlePiece&) -> Result<> {
    ++calls;
    return fail(ErrorCode::exhausted, "the disk is full");
  };
  EXPECT_EQ(decoder.feed(written.bytes, full).error().code, ErrorCode::exhausted);
  EXPECT_EQ(decoder.feed(written.bytes, full).error().code, ErrorCode::corrupt);
  EXPECT_EQ(calls, 1);
}

TEST(Bundle, AnErrorOfTheSourceEndsTheWriter) {
  const UniqueFd file(::memfd_create("bundle", MFD_CLOEXEC));
  const PageRuns runs = many_runs();
  const StartHistory none;
  const BundleContent content{Digest::of("layer"), runs, none};
  const auto gone = [](const PageRun&, char*) -> Result<> { return fail(ErrorCode::not_found, "not on disk"); };
  EXPECT_EQ(write_bundle(file.get(), content, gone).error().code, ErrorCode::not_found);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(write_bundle(file.get(), content, source, {.stop = stop.get_token()}).error().code, ErrorCode::cancelled);
}

TEST(Bundle, RunsThatNoChunkHasAreRefused) {
  BundleHead head{.runs = {{0, 255, 2}}, .blocks = {Digest()}, .plain_bytes = 2 * kPageBytes};
  const std::string bytes = encode(head);
  EXPECT_THAT(decode_bundle_head(bytes, Digest::of(bytes)).error().message, HasSubstr("no chunk has"));
  head.runs = {{0, 0, 1}};
  const std::string wrong_sum = encode(head);
  EXPECT_THAT(decode_bundle_head(wrong_sum, Digest::of(wrong_sum)).error().message, HasSubstr("do not add up"));
}

}  // namespace
}  // namespace hearth::image
