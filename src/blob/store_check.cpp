#include "blob/store_check.hpp"

#include "base/random_id.hpp"

namespace hearth::blob {

Result<> check_store(ObjectStore& store) {
  const std::string key = "check/" + random_id();
  TRY(const Created first, store.create(key, "first"));
  if (first == Created::no) return fail(ErrorCode::corrupt, "the object store has an object that nobody made: " + key);
  const auto second = store.create(key, "second");
  const auto seen = store.get(key);
  const auto removed = store.remove(key);
  for (const Result<>& step : {second ? Result<>{} : Result<>(Unexpected(second.error())),
                               seen ? Result<>{} : Result<>(Unexpected(seen.error())), removed}) {
    if (!step) return fail_with_context("check the object store", step.error());
  }
  if (*second == Created::yes || *seen != "first") {
    return fail(ErrorCode::invalid_argument,
                "the object store does not honour create-if-absent (If-None-Match: *): concurrent deployments would "
                "overwrite each other; use a server or a version of it that does (docs/stores.md)");
  }
  return {};
}

}  // namespace hearth::blob
