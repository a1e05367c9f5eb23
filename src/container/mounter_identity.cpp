#include "container/mounter_identity.hpp"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>

namespace hearth::container {

namespace {

using CapabilitySets = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

Result<> become(const IdMap& map) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilitySets sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return fail_errno("read capabilities", errno);
  ::setfsgid(map.host_base);
  ::setfsuid(map.host_base);  // takes the file-system capabilities out of the effective set …
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return fail_errno("keep capabilities", errno);  // … back again
  return {};
}

}  // namespace

Result<UniqueFd> as_mapped_root(const IdMap& map, const std::function<Result<UniqueFd>()>& function) {
  Result<UniqueFd> result;
  std::thread thread([&result, &map, &function] {
    if (auto became = become(map); !became) {
      result = Unexpected(std::move(became).error());
      return;
    }
    result = function();
  });
  thread.join();
  return result;
}

}  // namespace hearth::container
