// Which layers this boot has mounted, on disk: read when holder and imagefs died together and nobody else remembers.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

struct LedgerPack {
  Digest digest;
  std::filesystem::path data;  // its file in the cache
  uint64_t plain_size = 0;
};

struct LedgerEntry {
  Digest layer;
  std::vector<LedgerPack> packs;
};

/// One small file a layer in DIR, written when it is mounted. What an earlier boot wrote is of no interest: its mounts
/// are gone. Not thread-safe for one layer.
class MountLedger {
 public:
  explicit MountLedger(std::filesystem::path dir) : dir_(std::move(dir)) {}

  Result<> enter(const LedgerEntry& entry) const;
  void strike(const Digest& layer) const;
  /// Entries of this boot; others, and what cannot be read, are removed.
  std::vector<LedgerEntry> entries() const;

 private:
  std::filesystem::path dir_;
};

/// nullopt-like: invalid_argument for bytes that are no entry, or one of another boot.
Result<LedgerEntry> decode_ledger_entry(std::string_view bytes, std::string_view boot);
std::string encode(const LedgerEntry& entry, std::string_view boot);

}  // namespace hearth::mount
