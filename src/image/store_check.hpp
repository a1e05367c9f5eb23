// Checks that what lies in a store is whole: every root has its layers, every index can be read, every pack is there in
// its size; looked at deeply, every byte of every pack is what its digests say.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_index.hpp"
#include "image/store_scope.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::image {

/// One reference of a root to a layer.
struct LayerUser {
  std::string name;  // "model digits, branch main, version 3"
  Digest layer;
};

enum class CheckDepth {
  shallow,  // indexes, and sizes of packs
  deep,     // and all bytes of all packs
};

struct CheckProgress {
  std::string_view phase;  // "indexes", "packs"
  uint64_t done = 0;       // indexes, or bytes of packs
  uint64_t total = 0;
};

struct CheckOptions {
  CheckDepth depth = CheckDepth::shallow;
  unsigned threads = 4;                                // each holds one pack, or one index, in memory
  std::function<void(const CheckProgress&)> progress;  // from any of the threads, one at a time
  std::stop_token stop;
};

/// Something that is not as it should be.
struct StoreProblem {
  std::string object;                // key
  std::string what;                  // one line
  std::vector<std::string> used_by;  // users whose layers need it; empty: nobody's yet or any more
};

struct CheckReport {
  uint64_t layers = 0;
  uint64_t packs = 0;
  uint64_t chunks = 0;      // deep: that were compared with their digests
  uint64_t bytes_read = 0;  // of packs
  std::vector<StoreProblem> problems;
};

/// Blocking. `users` are those of the workspace, who may refer to `shared` too; what they refer to there is checked
/// with the rest of `shared`. Errors are the store's, and cancelled; what is broken is no error but in the report.
class StoreChecker {
 public:
  StoreChecker(std::shared_ptr<blob::ObjectStore> store, CheckOptions options)
      : store_(std::move(store)), options_(std::move(options)) {}

  Result<CheckReport> check(const StoreScope& scope, const std::vector<LayerUser>& users);

 private:
  /// What a layer says about a chunk of a pack.
  struct Place {
    uint64_t offset = 0;
    uint32_t stored_length = 0;
    uint32_t length = 0;
    ChunkEncoding encoding = ChunkEncoding::raw;
    Digest digest;
    auto operator<=>(const Place&) const = default;
  };
  struct Pack {
    uint64_t size = 0;  // of the object
    bool exists = false;
    std::set<uint64_t> promised;  // sizes that indexes give it
    std::set<std::string> users;
    std::set<std::string> named_by;  // keys of layers
    std::vector<Place> places;       // deep
  };

  Result<> read_indexes(const std::vector<std::pair<StoreScope, blob::ObjectInfo>>& indexes);
  Result<> read_index(const StoreScope& scope, const blob::ObjectInfo& object);
  void note_packs(const StoreScope& scope, const LayerIndex& index, const std::string& layer_key,
                  const std::set<std::string>& users);
  Result<> list_packs(const StoreScope& scope);
  void check_users(const std::vector<LayerUser>& users);
  Result<> check_sizes();
  Result<bool> is_named_still(const Pack& pack) const;
  Result<> check_bytes();
  Result<> check_pack(const std::string& key, Pack& pack);
  void report(std::string object, std::string what, const std::set<std::string>& users);
  void tell(std::string_view phase, uint64_t done, uint64_t total);
  std::set<std::string> users_of(const Digest& layer) const;

  std::shared_ptr<blob::ObjectStore> store_;
  CheckOptions options_;
  CheckReport report_;
  std::mutex mutex_;  // guards what follows and report_, while threads are at work
  std::multimap<Digest, std::string> users_;
  std::set<Digest> layers_;            // that can be read
  std::map<std::string, Pack> packs_;  // by key
  uint64_t done_ = 0;
};

}  // namespace hearth::image
