#include "mount/mount_ledger.hpp"

#include "base/file.hpp"
#include "mount/boot_id.hpp"

#include <nlohmann/json.hpp>

#include <system_error>

namespace hearth::mount {

namespace {
using nlohmann::json;
}  // namespace

std::string encode(const LedgerEntry& entry, std::string_view boot) {
  json packs = json::array();
  for (const LedgerPack& pack : entry.packs) {
    packs.push_back(
        {{"digest", pack.digest.to_string()}, {"data", pack.data.string()}, {"plain_size", pack.plain_size}});
  }
  return json{{"boot", boot}, {"layer", entry.layer.to_string()}, {"packs", std::move(packs)}}.dump();
}

Result<LedgerEntry> decode_ledger_entry(std::string_view bytes, std::string_view boot) {
  const json document = json::parse(bytes, nullptr, false);
  const auto broken = [] { return fail(ErrorCode::invalid_argument, "not an entry of this boot's mounts"); };
  if (!document.is_object() || !document.contains("boot") || document["boot"] != boot) return broken();
  const auto text = [](const json& object, const char* key) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  LedgerEntry entry;
  TRY(entry.layer, Digest::parse(text(document, "layer")));
  if (!document.contains("packs") || !document["packs"].is_array()) return broken();
  for (const json& pack : document["packs"]) {
    LedgerPack one;
    TRY(one.digest, Digest::parse(text(pack, "digest")));
    one.data = text(pack, "data");
    if (!pack.contains("plain_size") || !pack["plain_size"].is_number_unsigned()) return broken();
    one.plain_size = pack["plain_size"].get<uint64_t>();
    entry.packs.push_back(std::move(one));
  }
  return entry;
}

Result<> MountLedger::enter(const LedgerEntry& entry) const {
  TRY_VOID(make_directories(dir_, 0700));
  return write_file_atomic(dir_ / entry.layer.hex(), encode(entry, boot_id()), 0600);
}

void MountLedger::strike(const Digest& layer) const {
  std::error_code ignored;
  std::filesystem::remove(dir_ / layer.hex(), ignored);
}

std::vector<LedgerEntry> MountLedger::entries() const {
  std::vector<LedgerEntry> found;
  const std::string boot = boot_id();
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(dir_, error)) {
    const auto bytes = read_file(file.path());
    auto entry = decode_ledger_entry(bytes.value_or(""), boot);
    if (entry) {
      found.push_back(std::move(*entry));
    } else {
      std::error_code ignored;
      std::filesystem::remove(file.path(), ignored);
    }
  }
  return found;
}

}  // namespace hearth::mount
