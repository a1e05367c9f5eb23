#include "mount/grants.hpp"

#include "base/file.hpp"
#include "image/store_scope.hpp"

#include <system_error>

namespace hearth::mount {

bool Grants::known(const std::string& workspace, const Digest& digest) const {
  std::error_code ignored;
  return std::filesystem::exists(dir_ / digest.hex() / workspace, ignored);
}

Result<> Grants::grant(const std::string& workspace, const Digest& digest) const {
  if (known(workspace, digest)) return {};
  TRY_VOID(make_directories(dir_ / digest.hex(), 0700));
  return write_file_atomic(dir_ / digest.hex() / workspace, "", 0600);
}

Result<> Grants::check(const std::string& workspace, const Digest& digest) const {
  if (known(workspace, digest)) return {};
  for (const auto& scope : image::StoreScope::lookup_order(workspace)) {
    TRY(const auto size, store_->size(scope.layer_key(digest)));
    if (size) return grant(workspace, digest);
  }
  return fail(ErrorCode::not_found, "workspace " + workspace + " has no layer " + digest.to_string());
}

void Grants::forget(const Digest& digest) const {
  std::error_code ignored;
  std::filesystem::remove_all(dir_ / digest.hex(), ignored);
}

}  // namespace hearth::mount
