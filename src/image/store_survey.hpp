// Looks at what lies in a store and what keeps it, and gives the picture that garbage collection and storage accounting
// judge by.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/keeping.hpp"
#include "blob/object_store.hpp"
#include "image/garbage_plan.hpp"
#include "image/store_scope.hpp"

#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace hearth::image {

/// What others than this folder know about a scope.
struct ScopeRoots {
  std::vector<Digest> layers;          // that a version or an image name refers to
  std::vector<StoredObject> servants;  // build-cache entries: what they serve is filled in
  std::vector<StoredObject> replaced;  // generations that a newer one has replaced
};
/// Reads them anew, strictly: a root that cannot be read is an error, and then nothing is collected.
using RootSource = std::function<Result<ScopeRoots>(const StoreScope& scope)>;

/// All scopes there are: `shared`, and one for each workspace.
Result<std::vector<StoreScope>> list_scopes(blob::ObjectStore& store);

/// The keys under which a layer (or pack) of this digest may be found by whoever refers to it from `scope`.
std::vector<std::string> layer_keys(const StoreScope& scope, const Digest& digest);

struct Survey {
  StorePicture picture;
  std::unordered_set<std::string> leased;  // keys of layers that nodes have mounted: they stay, but are wanted back
  std::vector<blob::IntentState> writers;  // alive or dead; of all that may refer to the scope
  std::vector<std::string> void_leases;    // keys
  std::vector<std::string> problems;       // indexes and profiles that cannot be read, a line each
};

class StoreSurveyor {
 public:
  struct Options {
    blob::Timekeeper time{};
    unsigned threads = 8;    // calls to the store at once
    std::stop_token stop{};  // answer: cancelled
  };
  StoreSurveyor(std::shared_ptr<blob::ObjectStore> store, RootSource roots, Options options)
      : store_(std::move(store)), roots_(std::move(roots)), options_(std::move(options)) {}

  /// The scope as it is, in the order that safety needs: writers, roots, leases, objects. Of `shared`: with the layers
  /// of all workspaces, since they may refer to its packs.
  Result<Survey> look(const StoreScope& scope) const;
  /// Only who is writing.
  Result<std::vector<blob::IntentState>> writers(const StoreScope& scope) const;

 private:
  Result<std::vector<StoreScope>> referring(const StoreScope& scope) const;
  Result<> check_stop() const;
  Result<> for_each(size_t count, const std::function<Result<>(size_t)>& work) const;
  Result<> add_roots(const StoreScope& from, const StoreScope& scope, Survey& survey) const;
  Result<> add_layers(const StoreScope& from, Survey& survey) const;
  Result<> add_imports(const StoreScope& scope, Survey& survey) const;
  Result<> add_profiles(const StoreScope& scope, Survey& survey) const;
  Result<> add_plain(const std::string& prefix, ObjectKind kind, Survey& survey) const;

  std::shared_ptr<blob::ObjectStore> store_;
  RootSource roots_;
  Options options_;
};

}  // namespace hearth::image
