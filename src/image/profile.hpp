// Profiles: for one layer and one workload (the profile key), how its starts went and which bundle serves the next one.
// The document is docs/formats/profile.md.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/start_history.hpp"
#include "image/store_scope.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// Starts whose figures a profile lists.
inline constexpr size_t kListedStarts = 16;
/// Generations worth keeping; the garbage collector removes older ones and the bundles only they name.
inline constexpr size_t kKeptGenerations = 3;
inline constexpr size_t kMaxProfileBytes = 64 * 1024;
inline constexpr size_t kMaxProfileKeyBytes = 128;

/// What a profile says of its bundle; all of it stands in the bundle's head too, and is known a round trip earlier.
struct BundleRef {
  Digest digest;                // names ws/<w>/bundles/<hex>
  uint64_t bytes = 0;           // of the object
  uint64_t streamed_bytes = 0;  // of it, what a start reads: the rest is history
  uint64_t plain_bytes = 0;     // of the pages in it
  uint64_t runs = 0;
  bool operator==(const BundleRef&) const = default;
};

/// One start of the workload, oldest first in a profile.
struct StartFigures {
  WallTime at;
  uint64_t asked_bytes = 0;   // of pages that it read
  Coverage met;               // by the bundle it had; zeros if it had none
  uint64_t demand_waits = 0;  // reads that had to wait for the network
  uint64_t waited_ms = 0;     // sum of those waits; parallel ones count each
};

struct Profile {
  Digest layer;
  std::string key;
  uint64_t generation = 0;  // 1, 2, 3 …
  WallTime created;
  uint64_t starts = 0;  // all that were ever merged into it
  std::optional<BundleRef> bundle;
  std::vector<StartFigures> recent;  // at most kListedStarts
};

/// [A-Za-z0-9._-]{1,128}, not "." or "..".
bool is_profile_key(std::string_view key);

/// "ws/<w>/profiles/<layer hex>/" holds one folder a key; "<g>.json" in it, the highest is the truth.
std::string profiles_prefix(const StoreScope& scope, const Digest& layer);
std::string profile_object_key(const StoreScope& scope, const Profile& profile);
std::string bundle_object_key(const StoreScope& scope, const Digest& bundle);

std::string to_json(const Profile& profile);
/// Total. corrupt with what is wrong; a newer format is refused by a message that names it.
Result<Profile> parse_profile(std::string_view json);

/// The newest generation; nullopt without any. Two round trips. A newest one that cannot be parsed is an error.
Result<std::optional<Profile>> find_profile(blob::ObjectStore& store, const StoreScope& scope, const Digest& layer,
                                            std::string_view key);
/// The newest generation of every key of the layer, by key; what cannot be read is left out.
Result<std::vector<Profile>> list_profiles(blob::ObjectStore& store, const StoreScope& scope, const Digest& layer);

/// What a start adds to its profile: counts it and lists its figures. The generation is the next one.
Profile next_generation(const Profile& before, const StartFigures& start, WallTime now);

/// Whether a new generation is worth an object in the store: always with a new bundle; without one, figures of starts
/// that go well are written once an hour at most, so that a fleet of nodes does not write one object a start.
inline constexpr seconds kFiguresEvery{3600};
bool is_worth_writing(const Profile& before, WallTime now);
/// Whether a new bundle may be written although the last one is recent: the first generations learn fast, later ones
/// once an hour, since a workload that reads something else each time would write a bundle each time.
inline constexpr uint64_t kFastGenerations = 4;
bool may_write_bundle(const Profile& before, WallTime now);

/// One line for people: "starts 12 · recall 97 % · precision 91 % · bundle 69.1 MiB for 302 MiB".
std::string summary_line(const Profile& profile);

}  // namespace hearth::image
