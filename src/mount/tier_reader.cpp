#include "mount/tier_reader.hpp"

#include "base/log.hpp"
#include "mount/fetch_queue.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

namespace hearth::mount {

namespace {

constexpr std::string_view kDisk = "disk";
constexpr int kLoggedASecondMax = 10;

using Kind = FetchFailure::Kind;

Kind kind_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::not_found:
      return Kind::missing;
    case ErrorCode::corrupt:
      return Kind::wrong;
    default:
      return Kind::trouble;
  }
}

/// What is told of several failures: what may pass, rather than what will not.
int weight(Kind kind) {
  switch (kind) {
    case Kind::local:
      return 3;
    case Kind::trouble:
      return 2;
    case Kind::wrong:
      return 1;
    case Kind::missing:
      return 0;
  }
  return 0;
}

/// Plain bytes of block `i`.
size_t block_length(const PackChunk& chunk, uint32_t i) {
  return std::min<size_t>(kBlockBytes, chunk.length - size_t{i} * kBlockBytes);
}

}  // namespace

BlockMask blocks_in(const PackChunk& chunk, const PageRange& range) {
  BlockMask result = 0;
  for (uint32_t i = 0; i < chunk.block_count(); ++i) {
    if (overlap(chunk.block_pages(i), range).length > 0) result |= BlockMask{1} << i;
  }
  return result;
}

bool blocks_present(const PackFile& pack, const PackChunk& chunk, BlockMask blocks) {
  for (uint32_t i = 0; i < chunk.block_count(); ++i) {
    if ((blocks >> i & 1) == 0) continue;
    const auto pages = chunk.block_pages(i);
    if (!pack.present(pages.offset, pages.length)) return false;
  }
  return true;
}

TierReader::TierReader(Options options)
    : options_(std::move(options)),
      crew_(options_.decoders != 0 ? options_.decoders : std::max(1U, std::thread::hardware_concurrency())) {
  metrics_[kDisk] = metrics_of(kDisk);
  for (ChunkTier* tier : options_.tiers) {
    for (const std::string_view source : tier->sources()) metrics_[source] = metrics_of(source);
  }
}

TierReader::TierMetrics TierReader::metrics_of(std::string_view tier) {
  static MetricRegistry unread;
  auto& registry = options_.metrics != nullptr ? *options_.metrics : unread;
  const MetricLabels labels{{"tier", std::string(tier)}};
  return {
      .reads = &registry.counter("hearth_imagefs_fetch_reads_total", "Reads of a tier that gave bytes", labels),
      .bytes = &registry.counter("hearth_imagefs_fetch_bytes_total", "Bytes read from a tier", labels),
      .failures = &registry.counter("hearth_imagefs_fetch_failures_total", "Reads of a tier that gave none", labels),
      .corrupt = &registry.counter("hearth_imagefs_corrupt_total", "Bytes that did not match their digest", labels)};
}

void TierReader::count_corrupt(std::string_view tier, const Digest& pack, const std::string& what) {
  metrics_.at(tier).corrupt->add();
  // A pack that is wrong from end to end has thousands of chunks.
  const auto second = std::chrono::duration_cast<seconds>(mono_now().time_since_epoch()).count();
  if (logged_second_.exchange(second) != second) logged_ = 0;
  if (++logged_ > kLoggedASecondMax) return;
  log_warning("wrong bytes", {{"tier", tier}, {"pack", pack.hex()}, {"what", what}});
}

bool TierReader::verify_on_disk(PackFile& pack, const FetchRun::Item& item) {
  const auto& chunk = item.chunk;
  bool all_present = true;
  uint64_t verified = 0;
  std::unique_ptr<char[]> bytes;
  const auto start = mono_now();
  for (uint32_t i = 0; i < chunk.block_count(); ++i) {
    const auto pages = chunk.block_pages(i);
    if ((item.wanted >> i & 1) == 0 || pack.present(pages.offset, pages.length)) continue;
    if (!pack.on_disk(pages)) {
      all_present = false;
      continue;
    }
    if (!bytes) bytes = std::make_unique_for_overwrite<char[]>(kBlockBytes);
    const auto read = pack.read(pages.offset, bytes.get(), pages.length);
    const size_t length = block_length(chunk, i);
    const std::string_view padding(bytes.get() + length, pages.length - length);
    if (read && Digest::of({bytes.get(), length}) == chunk.block_digest(i) &&
        padding.find_first_not_of('\0') == std::string_view::npos) {
      const uint64_t kept_back = item.mark && i == 0 ? kPageBytes : 0;
      pack.confirm({pages.offset + kept_back, pages.length - kept_back});
      verified += pages.length;
      continue;
    }
    pack.drop_candidates(pages);
    all_present = false;
    if (read) {
      count_corrupt(kDisk, pack.digest(), "a block that was on disk at the start");
    } else {
      metrics_.at(kDisk).failures->add();
    }
  }
  if (verified > 0) {
    metrics_.at(kDisk).reads->add();
    metrics_.at(kDisk).bytes->add(verified);
    if (options_.observer) {
      options_.observer({.pack = pack.digest(),
                         .plain = chunk.pages(),
                         .tier = kDisk,
                         .bytes = verified,
                         .fetched = mono_now() - start});
    }
  }
  return all_present;
}

struct TierReader::Attempt {
  const FetchRun& run;
  const std::function<void(size_t)>& landed;
  const std::stop_token& stop;
  std::vector<image::StoreScope> scopes;

  std::mutex mutex;  // guards what is below; decoders are several
  std::vector<bool> done;
  std::vector<std::optional<FetchFailure>> failures;

  void failed(size_t i, Kind kind, const Error& error) {
    const std::lock_guard lock(mutex);
    if (failures[i] && weight(failures[i]->kind) >= weight(kind)) return;
    failures[i] = FetchFailure{kind, error};
  }
  void stored(size_t i) {
    {
      const std::lock_guard lock(mutex);
      done[i] = true;
      failures[i].reset();
    }
    landed(i);
  }
  /// Items that another tier may still have, as ranges to be read at once.
  std::vector<std::vector<size_t>> groups() {
    const std::lock_guard lock(mutex);
    std::vector<std::vector<size_t>> result;
    uint64_t begin = 0;
    uint64_t end = 0;
    for (size_t i = 0; i < run.items.size(); ++i) {
      const auto& chunk = run.items[i].chunk;
      if (done[i] || (failures[i] && failures[i]->kind == Kind::local)) continue;
      if (result.empty() || chunk.stored_offset > end + kRunGapBytesMax || chunk.stored_end() - begin > kRunBytesMax) {
        result.emplace_back();
        begin = chunk.stored_offset;
      }
      result.back().push_back(i);
      end = chunk.stored_end();
    }
    return result;
  }
};

std::vector<std::optional<FetchFailure>> TierReader::fetch(const FetchRun& run,
                                                           const std::function<void(size_t)>& landed,
                                                           const std::stop_token& stop) {
  Attempt attempt{.run = run, .landed = landed, .stop = stop, .scopes = run.pack->scopes()};
  attempt.done.resize(run.items.size());
  attempt.failures.resize(run.items.size());
  for (ChunkTier* tier : options_.tiers) {
    for (const auto& group : attempt.groups()) read_group(attempt, *tier, group);
  }
  for (size_t i = 0; i < run.items.size(); ++i) {
    CHECK_PROMISE(attempt.done[i] || attempt.failures[i]);
  }
  return std::move(attempt.failures);
}

void TierReader::read_group(Attempt& attempt, ChunkTier& tier, std::span<const size_t> group) {
  const auto& run = attempt.run;
  const auto& first = run.items[group.front()].chunk;
  const auto& last = run.items[group.back()].chunk;
  std::vector<ChunkRead::Piece> pieces;
  for (const size_t i : group) pieces.push_back({run.items[i].chunk.plain_offset, run.items[i].chunk.length});
  const ChunkRead read{.pack = run.pack->digest(),
                       .stored_offset = first.stored_offset,
                       .stored_length = last.stored_end() - first.stored_offset,
                       .pieces = pieces,
                       .scopes = attempt.scopes,
                       .round = run.round,
                       .urgency = run.urgency,
                       .deadline = run.deadline,
                       .stop = attempt.stop};
  const auto start = mono_now();
  auto answer = attempt.stop.stop_requested() ? Result<ChunkBytes>(fail(ErrorCode::cancelled, "imagefs is stopping"))
                                              : tier.read(read);
  if (!answer) {
    metrics_.at(tier.name()).failures->add();
    const auto kind = kind_of(answer.error());
    if (kind == Kind::wrong) count_corrupt(tier.name(), run.pack->digest(), answer.error().message);
    for (const size_t i : group) attempt.failed(i, kind, answer.error());
    return;
  }
  const std::string_view source = answer->source.empty() ? tier.name() : answer->source;
  metrics_.at(source).reads->add();
  metrics_.at(source).bytes->add(answer->bytes.size());
  if (options_.observer) {
    options_.observer({.pack = run.pack->digest(),
                       .plain = {first.plain_offset, last.pages().end() - first.plain_offset},
                       .tier = source,
                       .bytes = answer->bytes.size(),
                       .queued = start - run.asked,
                       .fetched = mono_now() - start,
                       .urgency = run.urgency});
  }
  take_bytes(attempt, source, group, *answer);
}

void TierReader::take_bytes(Attempt& attempt, std::string_view source, std::span<const size_t> group,
                            const ChunkBytes& answer) {
  const auto& items = attempt.run.items;
  const bool is_stored = answer.form == ChunkBytes::Form::stored;
  std::vector<std::string_view> parts;
  uint64_t at = 0;
  for (const size_t i : group) {
    const auto& chunk = items[i].chunk;
    if (is_stored) at = chunk.stored_offset - items[group.front()].chunk.stored_offset;
    const uint64_t length = is_stored ? chunk.stored_length : chunk.length;
    // Too few bytes: an empty part, which is no chunk.
    const bool there = at <= answer.bytes.size() && length <= answer.bytes.size() - at;
    parts.push_back(there ? std::string_view(answer.bytes).substr(at, length) : std::string_view());
    at += length;
  }
  crew_.for_each(group.size(), [&](size_t k, ChunkDecoder& decoder) {
    const auto& item = items[group[k]];
    const auto plain = is_stored ? decoder.decode(item.chunk, parts[k]) : ChunkDecoder::verify(item.chunk, parts[k]);
    if (!plain) {
      count_corrupt(source, attempt.run.pack->digest(), plain.error().message);
      if (answer.refute) answer.refute();
      attempt.failed(group[k], Kind::wrong, plain.error());
      return;
    }
    const auto kept = store(*attempt.run.pack, item, *plain);
    if (!kept) {
      attempt.failed(group[k], Kind::local, kept.error());
      return;
    }
    attempt.stored(group[k]);
  });
}

/// Pages that are there already (from a bundle, or verified on disk) are left as they are.
Result<> TierReader::store(PackFile& pack, const FetchRun::Item& item, std::string_view plain) {
  const auto part = [&](const PageRange& pages) {
    return plain.substr(pages.offset - item.chunk.plain_offset, pages.length);
  };
  for (PageRange missing : pack.missing(item.chunk.plain_offset, item.chunk.length)) {
    if (item.mark && missing.offset == item.chunk.plain_offset) {
      const PageRange page{missing.offset, kPageBytes};
      TRY_VOID(pack.store_as_candidate(page.offset, part(page)));
      missing = {page.end(), missing.length - page.length};
      if (missing.length == 0) continue;
    }
    TRY_VOID(pack.store(missing.offset, part(missing)));
  }
  return {};
}

}  // namespace hearth::mount
