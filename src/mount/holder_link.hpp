// imagefs's side of the holder: what must outlive imagefs is kept there, and readers' events come from there. When the
// holder is replaced, everything is handed over again.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/client.hpp"
#include "mount/holder_epoch.hpp"
#include "mount/mount_ledger.hpp"
#include "mount/pack_file.hpp"

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace hearth::mount {

/// Names a pack towards the holder, the same in every life of imagefs.
uint64_t pack_token(const Digest& pack);

/// What an earlier imagefs of this machine left in the holder.
struct Inheritance {
  std::vector<std::pair<Digest, UniqueFd>> packs;   // their data files' fill descriptors
  std::vector<std::pair<Digest, UniqueFd>> mounts;  // of layers
};

/// Thread-safe.
class HolderLink {
 public:
  using OnEvent = std::function<void(const holder::Event&)>;

  /// Takes over the holder's event group, or makes one. Errors: unavailable (no holder; no such kernel feature).
  static Result<std::unique_ptr<HolderLink>> open(std::filesystem::path socket);
  ~HolderLink();
  HolderLink(const HolderLink&) = delete;
  HolderLink& operator=(const HolderLink&) = delete;

  int group() const { return group_.get(); }
  /// Names the time during which nobody but us can have touched the cache: it ends with the holder.
  const std::string& epoch() const { return epoch_.name(); }
  /// Once, before start(). What cannot be had back is left out.
  Result<Inheritance> inherit();
  /// Fill descriptors for packs in use whose own were lost, because holder and imagefs died together: a read of each
  /// makes the kernel open one. Before start(). Packs without a mark need none; what cannot be had back is left out.
  std::vector<std::pair<Digest, UniqueFd>> recover(const std::vector<LedgerPack>& orphans);
  /// From now on events come, those that nobody has answered first. `on_event` is called on one thread and must be
  /// quick.
  void start(OnEvent on_event);

  /// Keeps the fill descriptor and has the holder watch the file's events.
  /// `observe`: reads that the holder allows by itself are told, too. Again with another value: changes that.
  Result<> keep_pack(const std::shared_ptr<PackFile>& pack, holder::Observe observe);
  /// The holder forgets the file: no event of it comes any more (it carries no mark).
  void drop_pack(const Digest& pack);
  Result<> keep_mount(const Digest& layer, int mount);
  void drop_mount(const Digest& layer);

  /// What the holder counts; nothing while there is none.
  std::map<std::string, uint64_t> counts();

  /// 0 lets the reader go on; an errno makes its read fail.
  void answer(uint64_t sequence, uint32_t errno_value);

 private:
  explicit HolderLink(std::filesystem::path socket) : socket_(std::move(socket)), client_(socket_) {}
  struct KeptPack {
    std::shared_ptr<PackFile> pack;
    holder::Observe observe = holder::Observe::no;
  };

  Result<> adopt_group();
  Result<> relay(const holder::Child& predecessor);
  Result<> hand_over_again();
  Result<> probe_orphan(const LedgerPack& orphan);
  Result<> track(const PackFile& pack, holder::Observe observe);
  void run(const std::stop_token& stop);
  Result<> follow(const std::stop_token& stop);

  std::filesystem::path socket_;
  holder::Client client_;
  UniqueFd group_;
  HolderEpoch epoch_;
  OnEvent on_event_;

  std::mutex mutex_;
  std::map<std::string, KeptPack> packs_;        // by hex of their digests
  std::map<std::string, UniqueFd> mounts_;       // likewise, of layers
  std::shared_ptr<holder::EventStream> stream_;  // empty while there is no holder
  holder::Child holder_;                         // whose events stream_ gives
  std::jthread thread_;
  std::vector<std::jthread> probes_;  // reads of recover() that wait to be answered
};

}  // namespace hearth::mount
