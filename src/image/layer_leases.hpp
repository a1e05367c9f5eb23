// A node's word that it has layers mounted: garbage collection leaves them and their packs alone although no version
// refers to them any more, so that a mounted layer can always fetch what it has not read yet.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/keeping.hpp"
#include "blob/object_store.hpp"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace hearth::image {

/// A lease not renewed for so long is void.
inline constexpr std::chrono::hours kLeaseLife{4};
inline constexpr std::chrono::hours kLeaseRenewal{1};
/// How often a node looks which of its leased layers nobody but it keeps.
inline constexpr std::chrono::minutes kWantedBackEvery{10};

/// ws/<w>/leases/<holder>/<n>: what one process has mounted of a workspace.
struct LeaseRecord {
  WallTime at;
  std::vector<Digest> layers;
};
std::string lease_record_json(const LeaseRecord& record);
/// Total. corrupt names the field.
Result<LeaseRecord> parse_lease_record(std::string_view json);
std::string leases_prefix(std::string_view workspace);  // ws/<w>/leases/

/// What is leased in a workspace now, and the keys of records that are void.
struct Leases {
  std::set<Digest> layers;
  std::vector<std::string> void_records;
};
Result<Leases> read_leases(blob::ObjectStore& store, std::string_view workspace, WallTime now);

struct LeaseOptions {
  std::string holder;  // node and process, for people; any text
  Duration renew_every = kLeaseRenewal;
  Duration look_every = kWantedBackEvery;
  blob::Timekeeper time{};
};

/// Thread-safe. add() and remove() return at once: a thread writes one object a workspace and change, well within the
/// grace of garbage collection, and again every hour. Unreachable stores are tried again. What was leased when it is
/// destroyed stays leased until the lease is void: a successor has the time to say what it took over.
class LayerLeases : public std::enable_shared_from_this<LayerLeases> {
 public:
  LayerLeases(std::shared_ptr<blob::ObjectStore> store, LeaseOptions options);
  ~LayerLeases();
  LayerLeases(const LayerLeases&) = delete;
  LayerLeases& operator=(const LayerLeases&) = delete;

  /// `workspace` has the layer mounted. Counted: each add() wants its remove().
  void add(const std::string& workspace, const Digest& layer);
  void remove(const std::string& workspace, const Digest& layer);
  /// The two as one: the layer is leased as long as the answer lives.
  std::shared_ptr<void> hold(const std::string& workspace, const Digest& layer);
  /// Whether garbage collection found that only leases keep the layer: to be let go if nobody uses it. Known with some
  /// minutes' delay.
  bool is_wanted_back(const Digest& layer);
  /// Returns when everything said so far stands in the store, or the deadline has passed (false).
  bool flush(Deadline deadline);

 private:
  struct Workspace {
    std::map<Digest, uint32_t> layers;  // how often each
    uint64_t changes = 0;
    uint64_t written = 0;  // up to which change
    uint64_t next = 0;     // number of the next record
    MonoTime renewed{};
    bool leased() const { return !layers.empty(); }
  };
  void work(const std::stop_token& stop);
  bool is_due(const Workspace& workspace) const;
  void look_for_wanted(std::unique_lock<std::mutex>& lock);
  bool write_due(std::unique_lock<std::mutex>& lock);
  Result<> write(const std::string& name, uint64_t number, const LeaseRecord& record);

  const std::shared_ptr<blob::ObjectStore> store_;
  const LeaseOptions options_;
  const std::string id_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::condition_variable written_;
  std::map<std::string, Workspace> workspaces_;
  std::set<Digest> wanted_back_;
  MonoTime looked_{};
  std::jthread thread_;
};

}  // namespace hearth::image
