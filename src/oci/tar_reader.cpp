#include "oci/tar_reader.hpp"

#include "oci/tar_number.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace hearth::oci {

namespace {

constexpr size_t kMaxNotes = 50;
constexpr uint64_t kMaxLongNameBytes = 16 * 1024;
constexpr std::string_view kXattrPrefix = "SCHILY.xattr.";

uint64_t padding_of(uint64_t bytes) {
  return (kTarBlockBytes - bytes % kTarBlockBytes) % kTarBlockBytes;
}

bool has_only_zeros(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

/// Records that would make no sense for more than one entry.
bool is_of_one_entry(std::string_view key) {
  return key == "path" || key == "linkpath" || key == "size" || key.starts_with("GNU.sparse.");
}

}  // namespace

Unexpected TarReader::corrupt(std::string_view what) const {
  std::string message = "archive, byte " + std::to_string(at_);
  if (!current_.empty()) message += ", entry '" + printable(current_) + "'";
  return fail(ErrorCode::corrupt, message + ": " + std::string(what));
}

void TarReader::note(std::string text) {
  if (notes_.size() < kMaxNotes && std::ranges::find(notes_, text) == notes_.end()) notes_.push_back(std::move(text));
}

Result<size_t> TarReader::read_block(std::array<char, kTarBlockBytes>& block) {
  TRY(const size_t got, read_fully(source_, block.data(), block.size()));
  at_ += got;
  return got;
}

/// False at the end of the archive.
Result<bool> TarReader::read_header(TarHeader& header) {
  TRY(const size_t got, read_block(header.block));
  if (has_only_zeros(header.field(0, got)) && got < kTarBlockBytes) {
    note("the archive lacks its end blocks");
    return false;
  }
  if (got < kTarBlockBytes) return corrupt("the archive is cut inside a header");
  if (header.is_zero()) {
    TarHeader second;
    TRY(const size_t more, read_block(second.block));
    if (!has_only_zeros(second.field(0, more))) return corrupt("entries follow a single zero block");
    if (more < kTarBlockBytes) note("the archive lacks its second end block");
    return false;
  }
  const auto wanted = parse_header_number(header.field(148, 8));
  if (!wanted || (*wanted != header.checksum(false) && *wanted != header.checksum(true))) {
    return corrupt("no tar header here (wrong checksum)");
  }
  if (++entries_ > limits_.entries) {
    return fail(ErrorCode::exhausted,
                "the archive has more entries than the limit of " + std::to_string(limits_.entries));
  }
  return true;
}

Result<> TarReader::skip_rest() {
  if (left_ > 0) {
    TRY(const uint64_t passed, source_.pass_over(left_));
    at_ += passed;
    left_ -= passed;
    if (left_ > 0) return corrupt("the archive is cut inside a file");
  }
  if (padding_ > 0) {
    TRY(const uint64_t got, source_.pass_over(padding_));
    at_ += got;
    if (got < padding_) note("the archive lacks the padding after its last entry");
    padding_ = 0;
  }
  return {};
}

Result<> TarReader::drain() {
  std::array<char, 64 * 1024> scratch{};
  for (;;) {
    TRY(const size_t got, source_.read(scratch.data(), scratch.size()));
    if (got == 0) return {};
    at_ += got;
    if (!has_only_zeros(std::string_view(scratch.data(), got))) note("bytes after the end of the archive were ignored");
  }
}

Result<size_t> TarReader::read(char* to, size_t size) {
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(size, left_));
  if (wanted == 0) return size_t{0};
  TRY(const size_t got, source_.read(to, wanted));
  if (got == 0) return corrupt("the archive is cut inside a file");
  at_ += got;
  left_ -= got;
  return got;
}

Result<std::string> TarReader::read_special(const TarHeader& header, uint64_t limit_bytes) {
  const auto size = parse_header_number(header.field(124, 12));
  if (!size || *size < 0) return corrupt("an extended header without a proper size");
  if (static_cast<uint64_t>(*size) > limit_bytes) {
    return fail(ErrorCode::exhausted, "archive, byte " + std::to_string(at_) + ": an extended header of " +
                                          std::to_string(*size) + " bytes is over the limit of " +
                                          std::to_string(limit_bytes));
  }
  std::string bytes;
  left_ = static_cast<uint64_t>(*size);
  padding_ = padding_of(left_);
  bytes.resize(static_cast<size_t>(left_));
  for (size_t have = 0; have < bytes.size();) {
    TRY(const size_t got, read(bytes.data() + have, bytes.size() - have));
    have += got;
  }
  TRY_VOID(skip_rest());
  return bytes;
}

Result<> TarReader::parse_records(std::string_view bytes, Extended& into) const {
  uint32_t count = 0;
  while (!bytes.empty()) {
    if (++count > limits_.extended_records) return fail(ErrorCode::exhausted, "too many records in a PAX header");
    const size_t space = bytes.find(' ');
    const auto length = space == std::string_view::npos ? std::nullopt : parse_decimal(bytes.substr(0, space));
    if (!length || *length <= static_cast<int64_t>(space) + 1 || static_cast<uint64_t>(*length) > bytes.size()) {
      return corrupt("a PAX record with a wrong length");
    }
    const std::string_view line = bytes.substr(space + 1, static_cast<size_t>(*length) - space - 1);
    const size_t equals = line.find('=');
    if (line.back() != '\n' || equals == std::string_view::npos || equals == 0) return corrupt("a damaged PAX record");
    const std::string_view key = line.substr(0, equals);
    const std::string_view value = line.substr(equals + 1, line.size() - equals - 2);
    bytes.remove_prefix(static_cast<size_t>(*length));
    // Format 0.0 of sparse files repeats two keys, and their order matters.
    if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      const auto number = parse_decimal(value);
      if (!number || *number < 0) return corrupt("a sparse map that is no number");
      if (key == "GNU.sparse.offset") {
        if (into.has_sparse_offset) return corrupt("a sparse map with an offset but no length");
        into.sparse.push_back({static_cast<uint64_t>(*number), 0});
      } else {
        if (!into.has_sparse_offset) return corrupt("a sparse map with a length but no offset");
        into.sparse.back().length = static_cast<uint64_t>(*number);
      }
      into.has_sparse_offset = !into.has_sparse_offset;
      continue;
    }
    into.records.insert_or_assign(std::string(key), std::string(value));
  }
  if (into.has_sparse_offset) return corrupt("a sparse map with an offset but no length");
  return {};
}

/// Headers that describe what comes next. False when this one is an entry itself.
Result<bool> TarReader::take_special(const TarHeader& header) {
  switch (header.type()) {
    case 'x':
    case 'X': {
      TRY(const std::string bytes, read_special(header, limits_.extended_bytes));
      local_ = {};
      TRY_VOID(parse_records(bytes, local_));
      return true;
    }
    case 'g': {
      TRY(const std::string bytes, read_special(header, limits_.extended_bytes));
      global_bytes_ += bytes.size();  // they add up
      if (global_bytes_ > limits_.extended_bytes) return fail(ErrorCode::exhausted, "too large global PAX headers");
      TRY_VOID(parse_records(bytes, global_));
      global_.sparse.clear();
      std::erase_if(global_.records, [](const auto& r) { return r.second.empty() || is_of_one_entry(r.first); });
      return true;
    }
    case 'L':
    case 'K': {
      TRY(std::string bytes, read_special(header, kMaxLongNameBytes));
      bytes.resize(std::min(bytes.find('\0'), bytes.size()));
      (header.type() == 'L' ? long_name_ : long_link_) = std::move(bytes);
      return true;
    }
    case 'V': {
      TRY_VOID(read_special(header, limits_.extended_bytes));
      note("a volume label was ignored");
      return true;
    }
    default:
      return false;
  }
}

Result<std::optional<TarEntry>> TarReader::next() {
  if (ended_) return std::optional<TarEntry>();
  TRY_VOID(skip_rest());
  current_.clear();
  local_ = {};
  long_name_.reset();
  long_link_.reset();
  bool described = false;
  for (;;) {
    TarHeader header;
    TRY(const bool more, read_header(header));
    if (!more) {
      if (described) return corrupt("the archive ends after an extended header");
      ended_ = true;
      TRY_VOID(drain());
      return std::optional<TarEntry>();
    }
    TRY(const bool special, take_special(header));
    if (special) {
      described = header.type() != 'g' && header.type() != 'V';
      continue;
    }
    TRY(auto entry, make_entry(header));
    return std::optional<TarEntry>(std::move(entry));
  }
}

std::optional<std::string_view> TarReader::record(std::string_view key) const {
  // An empty local value takes the global one back.
  if (const auto found = local_.records.find(key); found != local_.records.end()) {
    if (found->second.empty()) return std::nullopt;
    return found->second;
  }
  if (const auto found = global_.records.find(key); found != global_.records.end()) return found->second;
  return std::nullopt;
}

Result<TarEntry> TarReader::make_entry(const TarHeader& header) {
  TarEntry entry;
  TRY_VOID(set_names(header, entry));
  current_ = entry.path;
  TRY_VOID(set_kind(header, entry));
  TRY_VOID(set_attributes(header, entry));
  TRY_VOID(set_device(header, entry));
  TRY_VOID(set_content(header, entry));
  return entry;
}

Result<> TarReader::set_names(const TarHeader& header, TarEntry& entry) const {
  entry.path = header.name();
  if (long_name_) entry.path = *long_name_;
  if (const auto path = record("path")) entry.path = *path;
  if (const auto path = record("GNU.sparse.name")) entry.path = *path;
  entry.link = header.text(157, 100);
  if (long_link_) entry.link = *long_link_;
  if (const auto link = record("linkpath")) entry.link = *link;
  if (entry.path.empty()) return corrupt("an entry without a name");
  if (entry.path.contains('\0') || entry.link.contains('\0')) return corrupt("a zero byte in a name");
  if (std::max(entry.path.size(), entry.link.size()) > kMaxLongNameBytes) {
    return fail(ErrorCode::exhausted, "a name in the archive is longer than " + std::to_string(kMaxLongNameBytes));
  }
  return {};
}

Result<> TarReader::set_kind(const TarHeader& header, TarEntry& entry) const {
  switch (header.type()) {
    case '\0':  // before ustar, a directory was a file with a slash
      entry.type = entry.path.ends_with('/') ? FileType::directory : FileType::regular;
      break;
    case '0':
    case '7':
    case 'S':
      entry.type = FileType::regular;
      break;
    case '1':
      entry.hard_link = true;
      break;
    case '2':
      entry.type = FileType::symlink;
      break;
    case '3':
      entry.type = FileType::character_device;
      break;
    case '4':
      entry.type = FileType::block_device;
      break;
    case '5':
    case 'D':
      entry.type = FileType::directory;
      break;
    case '6':
      entry.type = FileType::fifo;
      break;
    default:
      return fail(ErrorCode::invalid_argument, "archive entry '" + printable(entry.path) + "' is of kind '" +
                                                   printable(std::string(1, header.type())) +
                                                   "', which has no place in a layer");
  }
  if (!entry.hard_link && entry.type != FileType::symlink) entry.link.clear();
  return {};
}

Result<> TarReader::set_attributes(const TarHeader& header, TarEntry& entry) const {
  const auto mode = parse_header_number(header.field(100, 8));
  if (!mode || *mode < 0) return corrupt("a mode that is no number");
  entry.attributes.mode = static_cast<uint16_t>(*mode & 07777);

  const auto owner = [this, &header](std::string_view key, size_t offset) -> Result<uint32_t> {
    const auto text = record(key);
    const auto number = text ? parse_decimal(*text) : parse_header_number(header.field(offset, 8));
    if (!number) return corrupt(std::string(key) + " is no number");
    if (*number < 0 || *number > int64_t{kMaxId}) {
      return corrupt(std::string(key) + " " + std::to_string(*number) + " is outside 0..2^32-2");
    }
    return static_cast<uint32_t>(*number);
  };
  TRY(entry.attributes.uid, owner("uid", 108));
  TRY(entry.attributes.gid, owner("gid", 116));

  if (const auto text = record("mtime")) {
    const auto time = parse_decimal_time(*text);
    if (!time) return corrupt("mtime '" + printable(*text) + "' is no number");
    entry.attributes.mtime = *time;
  } else {
    const auto seconds = parse_header_number(header.field(136, 12));
    if (!seconds) return corrupt("mtime is no number");
    entry.attributes.mtime = {*seconds, 0};
  }
  return set_xattrs(entry);
}

Result<> TarReader::set_xattrs(TarEntry& entry) const {
  std::map<std::string_view, std::string_view> values;
  for (const Records* records : {&global_.records, &local_.records}) {
    for (auto at = records->lower_bound(kXattrPrefix); at != records->end() && at->first.starts_with(kXattrPrefix);
         ++at) {
      const std::string_view name = std::string_view(at->first).substr(kXattrPrefix.size());
      // An empty value is a value, unless it takes a global one back.
      if (at->second.empty() && values.contains(name)) {
        values.erase(name);
      } else {
        values[name] = at->second;
      }
    }
  }
  if (values.size() > limits_.xattrs) return fail(ErrorCode::exhausted, "an archive entry with too many xattrs");
  for (const auto& [name, value] : values) {
    if (name.empty() || name.size() > kMaxXattrNameBytes || name.contains('\0'))
      return corrupt("an xattr with an impossible name");
    if (value.size() > kMaxXattrValueBytes) return corrupt("an xattr of more than 64 KiB");
    entry.attributes.xattrs.push_back({std::string(name), std::string(value)});
  }
  return {};
}

Result<> TarReader::set_device(const TarHeader& header, TarEntry& entry) const {
  if (entry.type != FileType::character_device && entry.type != FileType::block_device) return {};
  const auto number = [this, &header](std::string_view key, size_t offset, uint32_t limit) -> Result<uint32_t> {
    const auto text = record(key);
    const auto value = text ? parse_decimal(*text) : parse_header_number(header.field(offset, 8));
    if (!value || *value < 0 || *value > int64_t{limit}) return corrupt("a device number that no Linux device has");
    return static_cast<uint32_t>(*value);
  };
  TRY(entry.device.major, number("SCHILY.devmajor", 329, kMaxDeviceMajor));
  TRY(entry.device.minor, number("SCHILY.devminor", 337, kMaxDeviceMinor));
  return {};
}

}  // namespace hearth::oci
