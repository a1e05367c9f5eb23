#include "holder/kept_descriptors.hpp"

#include <fcntl.h>

#include <cerrno>

namespace hearth::holder {

namespace {

constexpr size_t kNamesBytesMax = 96 * 1024;  // of one page of `list`

}  // namespace

UniqueFd out_of_the_way(UniqueFd fd) {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kFirstHeld));
  return moved ? std::move(moved) : std::move(fd);
}

Result<> KeptDescriptors::check(std::string_view name, size_t elsewhere) const {
  if (name.empty() || name.size() > kNameMax) {
    return fail(ErrorCode::invalid_argument, "a name has 1 to " + std::to_string(kNameMax) + " bytes");
  }
  if (kept_.size() + elsewhere >= most_ && !kept_.contains(name)) {
    return fail(ErrorCode::exhausted, "the holder keeps " + std::to_string(most_) +
                                          " descriptors already, which is what this host's limit of open files allows");
  }
  return {};
}

void KeptDescriptors::put(std::string_view name, UniqueFd fd) {
  kept_.insert_or_assign(std::string(name), out_of_the_way(std::move(fd)));
}

Result<UniqueFd> KeptDescriptors::get(std::string_view name) const {
  const auto held = kept_.find(name);
  if (held == kept_.end()) return fail(ErrorCode::not_found, "the holder keeps nothing named " + std::string(name));
  UniqueFd copy(::fcntl(held->second.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("get: duplicate a descriptor", errno);
  return copy;
}

Names KeptDescriptors::list(const List& list) const {
  Names page;
  size_t bytes = 0;
  auto at = list.after.empty() ? kept_.lower_bound(list.prefix) : kept_.upper_bound(list.after);
  for (; at != kept_.end() && at->first.starts_with(list.prefix); ++at) {
    bytes += at->first.size() + sizeof(uint32_t);
    if (bytes > kNamesBytesMax) {
      page.next = page.names.back();
      break;
    }
    page.names.push_back(at->first);
  }
  return page;
}

void KeptDescriptors::drop(std::string_view name) {
  if (const auto held = kept_.find(name); held != kept_.end()) kept_.erase(held);
}

int KeptDescriptors::find(std::string_view name) const {
  const auto found = kept_.find(name);
  return found == kept_.end() ? -1 : found->second.get();
}

void KeptDescriptors::keep_only(const std::function<bool(std::string_view name)>& wanted) {
  std::erase_if(kept_, [&wanted](const auto& entry) { return !wanted(entry.first); });
}

}  // namespace hearth::holder
