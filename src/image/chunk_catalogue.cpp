#include "image/chunk_catalogue.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "image/in_parallel.hpp"
#include "image/pack_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace hearth::image {

namespace {

constexpr uint64_t kFirstTailBytes = 64 * 1024;  // the tables of most packs are smaller
constexpr unsigned kFetchThreads = 16;
constexpr std::string_view kTemporary = ".tmp-";

/// A pack of the store that may be used.
struct Candidate {
  Digest digest;
  std::string key;
  uint64_t size = 0;
  timespec used{};  // when its table was last of use; zero: it is not here yet
};

/// Tables are checked when they are read, so nothing is synced.
Result<> write_table(const std::filesystem::path& path, std::string_view table) {
  const std::filesystem::path temporary = path.parent_path() / (std::string(kTemporary) + random_id());
  {
    TRY(const auto fd, open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY_VOID(write_all(fd.get(), table, "table of a pack"));
  }
  if (::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  ::unlink(temporary.c_str());
  return fail_errno("keep the table of a pack in " + path.parent_path().string(), error);
}

/// Empty for a pack without a table: version 1 of the format had none.
Result<std::string> fetch_table(blob::ObjectStore& store, const Candidate& pack) {
  const uint64_t guess = std::min(pack.size, kFirstTailBytes);
  TRY(std::string tail, store.get_range(pack.key, pack.size - guess, guess));
  const auto bytes = pack_table_bytes(tail);
  if (!bytes || *bytes > pack.size) return std::string();
  if (*bytes > tail.size()) {
    TRY(tail, store.get_range(pack.key, pack.size - *bytes, *bytes));
  }
  return tail.substr(tail.size() - *bytes);
}

Result<std::vector<Candidate>> list_packs(blob::ObjectStore& store, std::span<const StoreScope> scopes,
                                          const ChunkCatalogue::MayUse& may_use) {
  std::vector<Candidate> packs;
  std::unordered_map<Digest, size_t> known;
  for (const StoreScope& scope : scopes) {
    const std::string prefix = scope.prefix() + "/packs/";
    TRY(auto objects, store.list_objects(prefix));
    for (blob::ObjectInfo& object : objects) {
      const auto digest = Digest::parse(std::string_view(object.key).substr(prefix.size()));
      if (!digest || !may_use(object.key) || !known.emplace(*digest, packs.size()).second) continue;
      packs.push_back({.digest = *digest, .key = std::move(object.key), .size = object.size});
    }
  }
  return packs;
}

}  // namespace

KnownChunks::KnownChunks(std::vector<PackInfo> packs, std::vector<Entry> entries)
    : packs_(std::move(packs)), entries_(std::move(entries)) {
  std::ranges::sort(entries_, {}, [](const Entry& entry) { return std::tie(entry.digest, entry.pack); });
  entries_.erase(std::ranges::unique(entries_, {}, &Entry::digest).begin(), entries_.end());
}

std::optional<KnownPlace> KnownChunks::find(const Digest& digest, uint32_t length) const {
  const auto found = std::ranges::lower_bound(entries_, digest, {}, &Entry::digest);
  if (found == entries_.end() || found->digest != digest || found->length != length) return std::nullopt;
  return KnownPlace{found->pack, found->offset, uint64_t{found->plain_page} * kPageBytes, found->stored_length,
                    found->encoding};
}

Result<std::shared_ptr<ChunkCatalogue>> ChunkCatalogue::open(std::filesystem::path directory, CatalogueLimits limits) {
  TRY_VOID(make_directories(directory, 0700));
  return std::shared_ptr<ChunkCatalogue>(new ChunkCatalogue(std::move(directory), limits));
}

Result<std::shared_ptr<const KnownChunks>> ChunkCatalogue::look(blob::ObjectStore& store,
                                                                std::span<const StoreScope> scopes,
                                                                const MayUse& may_use) {
  TRY(auto candidates, list_packs(store, scopes, may_use));
  for (Candidate& pack : candidates) {
    struct stat info{};
    if (::stat(path_of(pack.digest).c_str(), &info) == 0) pack.used = info.st_mtim;
  }
  const auto cached = std::ranges::partition(candidates, [](const Candidate& pack) { return pack.used.tv_sec == 0; });
  const std::span fetched(candidates.begin(), cached.begin());
  std::ranges::sort(fetched, std::ranges::greater(), &Candidate::size);
  const size_t count = std::min(fetched.size(), limits_.fetched_packs);
  TRY_VOID(in_parallel(count, kFetchThreads, [this, &store, &fetched](size_t i) -> Result<> {
    auto table = fetch_table(store, fetched[i]);
    if (!table && table.error().code == ErrorCode::not_found) return {};  // removed since it was listed
    if (!table) return Unexpected(std::move(table).error());
    remember(fetched[i].digest, *table);
    return {};
  }));
  std::ranges::sort(cached, std::ranges::greater(),
                    [](const Candidate& pack) { return std::pair(pack.used.tv_sec, pack.used.tv_nsec); });

  std::vector<PackInfo> packs;
  std::vector<KnownChunks::Entry> entries;
  for (const Candidate& pack : candidates) {
    auto bytes = read_file(path_of(pack.digest));
    if (!bytes || bytes->empty()) continue;
    const auto table = read_pack_table(*bytes, pack.size);
    if (!table) {  // damaged here: it is read from the store next time
      ::unlink(path_of(pack.digest).c_str());
      continue;
    }
    if (entries.size() + table->entries.size() > limits_.chunks) break;
    const auto number = static_cast<uint32_t>(packs.size());
    packs.push_back({pack.digest, pack.size, table->plain_size});
    for (const PackEntry& entry : table->entries) {
      entries.push_back({entry.digest, entry.length, number, static_cast<uint32_t>(entry.offset),
                         static_cast<uint32_t>(entry.plain_offset / kPageBytes), entry.stored_length, entry.encoding});
    }
  }
  keep_within_limit();
  return std::make_shared<const KnownChunks>(std::move(packs), std::move(entries));
}

void ChunkCatalogue::remember(const Digest& pack, std::string_view table) {
  if (auto written = write_table(path_of(pack), table); !written) {
    log_warning("a table of chunks could not be kept", {{"error", written.error().message}});
  }
}

void ChunkCatalogue::touch(const Digest& pack) {
  ::utimensat(AT_FDCWD, path_of(pack).c_str(), nullptr, 0);
}

void ChunkCatalogue::keep_within_limit() const {
  struct Kept {
    std::filesystem::path path;
    uint64_t bytes;
    std::filesystem::file_time_type used;
  };
  std::vector<Kept> files;
  uint64_t total = 0;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory_, error)) {
    std::error_code gone;
    const Kept kept{file.path(), file.file_size(gone), file.last_write_time(gone)};
    if (gone) continue;
    total += kept.bytes;
    files.push_back(kept);
  }
  if (total <= limits_.disk_bytes) return;
  std::ranges::sort(files, {}, &Kept::used);
  for (const Kept& file : files) {
    if (total <= limits_.disk_bytes) break;
    if (std::filesystem::remove(file.path, error)) total -= file.bytes;
  }
}

}  // namespace hearth::image
