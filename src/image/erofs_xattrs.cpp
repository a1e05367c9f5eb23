#include "image/erofs_xattrs.hpp"

#include "base/little_endian.hpp"
#include "image/erofs_format.hpp"

#include <optional>

namespace hearth::image::erofs {

namespace {

// How overlayfs spells an opaque directory.
constexpr XattrView kOpaque{"trusted.overlay.opaque", "y"};

struct Name {
  uint8_t prefix = 0;
  std::string_view rest;
};

std::optional<Name> split_name(std::string_view name) {
  for (const auto& prefix : xattr::kPrefixes) {
    if (prefix.whole ? name == prefix.text : name.starts_with(prefix.text) && name != prefix.text) {
      return Name{prefix.number, name.substr(prefix.text.size())};
    }
  }
  return std::nullopt;
}

/// An ACL is looked at by the kernel at each access check; nonsense would make the file unreachable.
bool is_acl(std::string_view value) {
  constexpr uint32_t kVersion = 2;
  constexpr size_t kHeaderBytes = 4;
  constexpr size_t kEntryBytes = 8;
  return value.size() >= kHeaderBytes && load_le<uint32_t>(value, 0) == kVersion &&
         (value.size() - kHeaderBytes) % kEntryBytes == 0;
}

Unexpected refuse(ErrorCode code, const InodeView& inode, std::string_view xattr, std::string_view why) {
  return fail(code, "inode " + std::to_string(inode.number) + ": xattr " + oci::printable(xattr) + " " +
                        std::string(why) + ": EROFS cannot hold it");
}

Result<> check(const InodeView& inode, const XattrView& xattr) {
  const auto name = split_name(xattr.name);
  if (!name) return refuse(ErrorCode::invalid_argument, inode, xattr.name, "has a name no file system takes");
  if (name->rest.empty() && !is_acl(xattr.value)) {
    return refuse(ErrorCode::invalid_argument, inode, xattr.name, "is no access control list");
  }
  if (xattr.value.size() > xattr::kMaxValueBytes) {
    return refuse(ErrorCode::exhausted, inode, xattr.name,
                  "is longer than " + std::to_string(xattr::kMaxValueBytes) + " bytes");
  }
  return {};
}

uint64_t entry_bytes(const XattrView& xattr) {
  return round_up(xattr::kEntryHeaderBytes + split_name(xattr.name)->rest.size() + xattr.value.size(), xattr::kIdBytes);
}

void append_entry(const XattrView& xattr, std::string& out) {
  const Name name = *split_name(xattr.name);
  append_le(out, static_cast<uint8_t>(name.rest.size()));
  append_le(out, name.prefix);
  append_le(out, static_cast<uint16_t>(xattr.value.size()));
  out += name.rest;
  out += xattr.value;
  out.resize(round_up(out.size(), xattr::kIdBytes), '\0');
}

/// An inode that uses a shared xattr pays an id; the entry is paid once.
bool sharing_pays(uint64_t entry, uint64_t inodes) {
  return inodes * entry > entry + inodes * xattr::kIdBytes;
}

/// Those of the index, and the mark of an opaque directory.
template <class Visit>
void each_xattr(const LayerIndex& index, const InodeView& inode, const Visit& visit) {
  for (uint32_t i = 0; i < inode.xattr_count; ++i) visit(index.xattr(inode, i));
  if (inode.opaque) visit(kOpaque);
}

bool has_xattrs(const InodeView& inode) {
  return inode.xattr_count > 0 || inode.opaque;
}

}  // namespace

Result<Xattrs> Xattrs::plan(const LayerIndex& index) {
  Xattrs xattrs(index);
  TRY_VOID(xattrs.count());
  TRY_VOID(xattrs.share());
  return xattrs;
}

Result<> Xattrs::count() {
  for (uint32_t number = 0; number < index_.inode_count(); ++number) {
    const InodeView inode = index_.inode(number);
    for (uint32_t i = 0; i < inode.xattr_count; ++i) TRY_VOID(check(inode, index_.xattr(inode, i)));
    each_xattr(index_, inode, [this](const XattrView& xattr) { ++uses_[{xattr.name, xattr.value}].inodes; });
  }
  return {};
}

/// In the order of first use, so that inodes near each other share what lies near.
Result<> Xattrs::share() {
  for (uint32_t number = 0; number < index_.inode_count(); ++number) {
    const InodeView inode = index_.inode(number);
    if (!has_xattrs(inode)) continue;
    each_xattr(index_, inode, [this](const XattrView& xattr) {
      Use& use = uses_[{xattr.name, xattr.value}];
      if (use.shared || !sharing_pays(entry_bytes(xattr), use.inodes)) return;
      use.shared = true;
      use.id = static_cast<uint32_t>(shared_area_.size() / xattr::kIdBytes);
      append_entry(xattr, shared_area_);
    });
    if (split(inode).bytes > xattr::kMaxBodyBytes) {
      return fail(ErrorCode::exhausted, "inode " + std::to_string(number) + " has more than " +
                                            std::to_string(xattr::kMaxBodyBytes) +
                                            " bytes of xattrs: EROFS cannot hold them");
    }
  }
  return {};
}

Xattrs::Split Xattrs::split(const InodeView& inode) const {
  Split result;
  if (!has_xattrs(inode)) return result;
  result.bytes = xattr::kBodyHeaderBytes;
  each_xattr(index_, inode, [this, &result](const XattrView& xattr) {
    const Use& use = uses_.at({xattr.name, xattr.value});
    if (use.shared && result.shared.size() < xattr::kMaxShared) {
      result.shared.push_back(use.id);
      result.bytes += xattr::kIdBytes;
    } else {
      result.own.push_back(xattr);
      result.bytes += entry_bytes(xattr);
    }
  });
  return result;
}

uint32_t Xattrs::body_bytes(const InodeView& inode) const {
  return static_cast<uint32_t>(split(inode).bytes);
}

void Xattrs::append_body(const InodeView& inode, std::string& out) const {
  const Split body = split(inode);
  if (body.bytes == 0) return;
  std::string header(xattr::kBodyHeaderBytes, '\0');
  store_le(header.data() + xattr::kSharedCountAt, static_cast<uint8_t>(body.shared.size()));
  out += header;
  for (const uint32_t id : body.shared) append_le(out, id);
  for (const XattrView& xattr : body.own) append_entry(xattr, out);
}

}  // namespace hearth::image::erofs
