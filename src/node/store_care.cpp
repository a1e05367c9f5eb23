#include "node/store_care.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"
#include "build/layer_cache.hpp"

#include <algorithm>
#include <optional>

namespace hearth::node {
namespace {

constexpr std::string_view kWorkspaces = "ws/";
constexpr unsigned kSurveyThreads = 8;
constexpr std::chrono::minutes kFirstAfter{15};   // a restart is no reason to be busy at once
constexpr std::chrono::minutes kFirstSpread{30};  // nodes that start together do not collect together
constexpr seconds kAfterRipe{5};

bool is_shared(const image::StoreScope& scope) {
  return scope == image::StoreScope::shared();
}

std::string workspace_of(const image::StoreScope& scope) {
  return scope.prefix().substr(kWorkspaces.size());
}

/// "model digits", "image python": whose layers are counted together.
std::string owner_of(const catalog::LayerUse& use) {
  return use.version == 0 ? use.user() : "model " + use.branch.model;
}

/// Versions of different branches are different ones.
uint32_t number_of(const catalog::LayerUse& use, std::vector<std::pair<std::string, uint32_t>>& known) {
  const std::pair<std::string, uint32_t> version(use.branch.branch, use.version);
  const auto number = static_cast<uint32_t>(std::ranges::find(known, version) - known.begin());
  if (number == known.size()) known.push_back(version);
  return number;
}

}  // namespace

Result<image::ScopeRoots> StoreCare::roots(const image::StoreScope& scope) {
  image::ScopeRoots roots;
  TRY(catalog::KeptLayers kept, is_shared(scope) ? kept_.shared() : kept_.workspace(workspace_of(scope)));
  for (const catalog::LayerUse& use : kept.uses) roots.layers.push_back(use.layer.digest);
  for (blob::ObjectInfo& object : kept.replaced) {
    roots.replaced.push_back({.key = std::move(object.key), .size = object.size, .kind = image::ObjectKind::name});
  }
  if (is_shared(scope)) return roots;
  TRY(auto cached, build::list_cached(*store_, workspace_of(scope)));
  for (build::CachedLayer& entry : cached) {
    image::StoredObject servant{
        .key = std::move(entry.object.key), .size = entry.object.size, .kind = image::ObjectKind::build_cache};
    if (entry.layer) servant.serves = image::layer_keys(scope, *entry.layer);
    roots.servants.push_back(std::move(servant));
  }
  return roots;
}

Result<image::StoreUsage> StoreCare::usage(const std::string& workspace, const std::stop_token& stop) {
  const image::StoreSurveyor surveyor(store_, [this](const image::StoreScope& scope) { return roots(scope); },
                                      {.threads = kSurveyThreads, .stop = stop});
  const image::StoreScope own = image::StoreScope::workspace(workspace);
  image::StoreUsage usage;
  std::vector<image::StoredObject> objects;
  for (const image::StoreScope& scope : {own, image::StoreScope::shared()}) {
    TRY(image::Survey survey, surveyor.look(scope));
    TRY(const auto all, store_->list_objects(scope.prefix() + "/"));
    usage.scopes.push_back(image::account_scope(scope, all, survey.picture));
    // The picture of what is shared holds the layers of other workspaces too.
    std::ranges::copy_if(survey.picture.objects, std::back_inserter(objects),
                         [&scope](const auto& object) { return object.key.starts_with(scope.prefix() + "/"); });
  }
  TRY(const catalog::KeptLayers kept, kept_.workspace(workspace));
  std::vector<image::OwnedLayer> layers;
  std::map<std::string, std::vector<std::pair<std::string, uint32_t>>> versions;
  for (const catalog::LayerUse& use : kept.uses) {
    const std::string owner = owner_of(use);
    layers.push_back({owner, number_of(use, versions[owner]), use.layer.digest});
  }
  image::account_owners(own, objects, layers, usage);
  return usage;
}

Result<StoreCare::ScopeReports> StoreCare::collect(const std::vector<image::StoreScope>& scopes,
                                                   const image::CollectOptions& options) {
  const std::lock_guard lock(collecting_);
  ScopeReports reports;
  for (const image::StoreScope& scope : scopes) {
    image::GarbageCollector collector(store_, [this](const image::StoreScope& of) { return roots(of); }, options);
    auto report = collector.run(scope);
    if (!report) return fail_with_context("collect garbage in " + scope.prefix(), std::move(report).error());
    reports.emplace_back(scope.prefix(), std::move(*report));
  }
  return reports;
}

Result<StoreCare::ScopeReports> StoreCare::collect_everything(const image::CollectOptions& options) {
  TRY(const auto scopes, image::list_scopes(*store_));
  return collect(scopes, options);
}

Result<image::CheckReport> StoreCare::check(const std::string& workspace, const image::CheckOptions& options) {
  TRY(const catalog::KeptLayers kept, kept_.workspace(workspace));
  TRY(const catalog::KeptLayers shared, kept_.shared());
  std::vector<image::LayerUser> users;
  for (const catalog::KeptLayers* of : {&kept, &shared}) {
    for (const catalog::LayerUse& use : of->uses) users.push_back({use.user(), use.layer.digest});
  }
  return image::StoreChecker(store_, options).check(image::StoreScope::workspace(workspace), users);
}

RegularCollection::RegularCollection(std::shared_ptr<StoreCare> care, Duration every, Duration grace)
    : care_(std::move(care)), every_(every), grace_(grace) {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

RegularCollection::~RegularCollection() {
  thread_.request_stop();
  thread_.join();
}

void RegularCollection::work(const std::stop_token& stop) {
  const auto spread = std::chrono::duration_cast<Duration>(kFirstSpread).count();
  Duration pause = std::min<Duration>(every_, kFirstAfter + Duration(random_u64() % static_cast<uint64_t>(spread)));
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    stop_.wait_for(lock, stop, pause, [] { return false; });
    if (!stop.stop_requested()) pause = collect_once(stop);
  }
}

/// How long until the next run.
Duration RegularCollection::collect_once(const std::stop_token& stop) {
  image::CollectOptions options;
  options.grace = grace_;
  options.stop = stop;
  const auto reports = care_->collect_everything(options);
  if (!reports) {
    if (reports.error().code == ErrorCode::cancelled) return every_;
    log_warning("garbage collection of the object store failed; it is tried again",
                {{"error", reports.error().message}});
    return every_;
  }
  image::Tally deleted;
  image::Tally condemned;
  std::optional<Duration> ripe_in;
  for (const auto& [scope, report] : *reports) {
    for (const auto& [kind, tally] : report.deleted)
      deleted = {deleted.objects + tally.objects, deleted.bytes + tally.bytes};
    for (const auto& [kind, tally] : report.condemned) {
      condemned = {condemned.objects + tally.objects, condemned.bytes + tally.bytes};
    }
    if (report.ripe_in) ripe_in = std::min(ripe_in.value_or(*report.ripe_in), *report.ripe_in);
    for (const std::string& problem : report.problems) {
      log_warning("garbage collection met what it cannot read, and left alone what it may need", {{"object", problem}});
    }
  }
  log_info("garbage of the object store was collected", {{"deleted", deleted.objects},
                                                         {"deleted_bytes", deleted.bytes},
                                                         {"condemned", condemned.objects},
                                                         {"condemned_bytes", condemned.bytes}});
  return std::min<Duration>(every_, ripe_in ? *ripe_in + kAfterRipe : every_);
}

}  // namespace hearth::node
