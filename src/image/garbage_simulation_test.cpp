// Writers, removers, nodes and collectors of a simulated fleet at work on one simulated store, call by call in random
// order, with clocks that differ, machines that sleep and machines that die. Nothing that is needed may ever be
// missing.
#include "base/log.hpp"
#include "blob/intent.hpp"
#include "image/garbage_collector.hpp"
#include "image/layer_leases.hpp"
#include "image/simulated_index.hpp"
#include "image/simulated_schedule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace hearth::image {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::IsEmpty;

constexpr uint32_t kWorkspaces = 2;
constexpr uint32_t kLayers = 4;
constexpr uint32_t kPacks = 5;
constexpr uint32_t kUploads = 4;

Digest named(std::string_view kind, uint32_t number) {
  return Digest::of(std::string(kind) + std::to_string(number));
}

/// How the writers behave.
enum class Manners { careful, without_keeping, without_checking };

class SimulatedFleet {
 public:
  SimulatedFleet(uint32_t seed, Manners manners) : schedule_(store_, seed), manners_(manners) {
    store_->changed = [this](const blob::SimulatedStore::Event& event) {
      if (event.key.contains("/layers/") || event.key.contains("/packs/") || event.key.contains("/roots/")) {
        look_for_losses(event.key);
      }
    };
    for (int i = 0; i < 3; ++i) schedule_.add([this] { write(); });
    schedule_.add([this] { upload_and_read(); });
    schedule_.add([this] { remove_roots(); });
    schedule_.add([this] { hold_a_lease(); });
    for (int i = 0; i < 2; ++i) schedule_.add([this] { collect(); });
  }

  void run() { schedule_.run(); }
  const std::vector<std::string>& losses() const { return losses_; }
  const blob::SimulatedStore& store() const { return *store_; }

  /// When all is quiet: everything that is left is needed.
  std::vector<std::string> left_over() {
    schedule_.pass(hours(10));
    for (int round = 0; round < 3; ++round) {
      for (const StoreScope& scope : list_scopes(*store_).value()) {
        const auto report = collector(Duration::zero()).run(scope);
        if (!report) return {report.error().message};
      }
    }
    std::set<std::string, std::less<>> needed;
    for (const auto& [key, bytes] : store_->objects()) {
      if (key.contains("/roots/")) add_needed(key, needed);
    }
    std::vector<std::string> left;
    for (const auto& [key, bytes] : store_->objects()) {
      if (!key.contains("/roots/") && !needed.contains(key)) left.push_back(key);
    }
    return left;
  }

 private:
  using Objects = std::map<std::string, std::string, std::less<>>;

  // --- the actors ---

  std::string some_workspace() { return "w" + std::to_string(schedule_.below(kWorkspaces)); }
  StoreScope scope_for(const std::string& workspace) {
    return schedule_.chance(30) ? StoreScope::shared() : StoreScope::workspace(workspace);
  }
  void sleep_perhaps() {
    if (schedule_.chance(20)) schedule_.sleep(seconds(schedule_.below(60)));
    if (schedule_.chance(4)) schedule_.sleep(minutes(schedule_.below(100)));
    if (schedule_.chance(2)) schedule_.die();
  }

  void write() {
    for (int i = 0; i < 5 && !schedule_.dead(); ++i) {
      (void)write_once();
      sleep_perhaps();
    }
  }
  Result<> write_once() {
    const std::string workspace = some_workspace();
    TRY(const auto intent,
        blob::Intent::begin(
            store_,
            {.workspace = workspace, .owner = "simulated", .renew_every = Duration::zero(), .time = schedule_.time()}));
    sleep_perhaps();
    std::vector<Digest> layers;
    for (uint32_t i = 0; i <= schedule_.below(2); ++i) {
      TRY(const Digest layer, schedule_.chance(30) ? find_layer(*intent) : make_layer(*intent));
      layers.push_back(layer);
      if (schedule_.chance(30)) TRY_VOID(intent->renew());
      sleep_perhaps();
    }
    if (schedule_.chance(10)) return {};  // the build failed
    return publish(*intent, layers);
  }
  /// Whether the object is there to stay; what careless writers take for it.
  Result<bool> keep(blob::Intent& intent, const std::string& key) {
    TRY(const auto size, store_->size(key));
    if (!size || manners_ == Manners::without_keeping) return size.has_value();
    return intent.keep(key);
  }
  Result<> create(blob::Intent& intent, const std::string& key, std::string_view bytes) {
    if (manners_ == Manners::without_keeping) {
      TRY_VOID(store_->create(key, bytes));
    } else {
      TRY_VOID(intent.create(key, bytes));
    }
    return {};
  }
  Result<Digest> make_layer(blob::Intent& intent) {
    const StoreScope scope = scope_for(intent.workspace());
    const uint32_t number = schedule_.below(kLayers);
    std::vector<Digest> packs;
    for (uint32_t i = 0; i < 2; ++i) {
      // Which of two packs holds the content: a layer may be packed in several ways.
      const Digest pack = named("pack", (number + i + schedule_.below(2)) % kPacks);
      TRY(const bool found, schedule_.chance(50) ? keep(intent, scope.pack_key(pack)) : Result<bool>(false));
      if (!found) TRY_VOID(create(intent, scope.pack_key(pack), "pack"));
      packs.push_back(pack);
      sleep_perhaps();
    }
    const Digest layer = named("layer", number);
    TRY_VOID(create(intent, scope.layer_key(layer), simulated_index(packs)));
    return layer;
  }
  /// A layer of an earlier build, whoever needs it.
  Result<Digest> find_layer(blob::Intent& intent) {
    for (int attempt = 0; attempt < 3; ++attempt) {
      const Digest layer = named("layer", schedule_.below(kLayers));
      for (const std::string& key : layer_keys(StoreScope::workspace(intent.workspace()), layer)) {
        TRY(const bool found, keep(intent, key));
        if (found) return layer;
      }
    }
    return make_layer(intent);
  }
  Result<> publish(blob::Intent& intent, const std::vector<Digest>& layers) {
    std::string root;
    for (const Digest& layer : layers) root += layer.hex() + "\n";
    if (manners_ != Manners::without_checking) TRY_VOID(intent.check());
    TRY_VOID(store_->create("ws/" + intent.workspace() + "/roots/" + std::to_string(next_root_++), root));
    return {};
  }

  void upload_and_read() {
    for (int i = 0; i < 4 && !schedule_.dead(); ++i) {
      (void)upload_and_read_once();
      sleep_perhaps();
    }
  }
  Result<> upload_and_read_once() {
    const std::string workspace = some_workspace();
    std::vector<std::string> parts;
    for (uint32_t i = 0; i < 2; ++i) {
      parts.push_back("ws/" + workspace + "/uploads/" + named("part", schedule_.below(kUploads)).hex());
      TRY_VOID(store_->create(parts.back(), "part"));
    }
    sleep_perhaps();
    TRY(const auto intent,
        blob::Intent::begin(
            store_,
            {.workspace = workspace, .owner = "simulated", .renew_every = Duration::zero(), .time = schedule_.time()}));
    std::vector<std::string> there;
    for (const std::string& part : parts) {
      TRY(const bool found, keep(*intent, part));
      if (found) there.push_back(part);
    }
    for (const std::string& part : there) {
      TRY_VOID(intent->check());
      auto bytes = store_->get(part);
      if (!bytes && bytes.error().code == ErrorCode::not_found) losses_.push_back("an upload in use: " + part);
    }
    return {};
  }

  void remove_roots() {
    for (int i = 0; i < 12 && !schedule_.dead(); ++i) {
      schedule_.sleep(seconds(schedule_.below(300)));
      const auto roots = store_->list("ws/" + some_workspace() + "/roots/");
      if (!roots || roots->empty()) continue;
      const std::string& root = (*roots)[schedule_.below(static_cast<uint32_t>(roots->size()))];
      if (!root.ends_with(".removed")) (void)store_->create(root + ".removed", "");
    }
  }

  /// Mounts what a root refers to, and reads from it after the root is gone.
  void hold_a_lease() {
    const std::string workspace = some_workspace();
    const auto roots = roots_of(StoreScope::workspace(workspace));
    if (!roots || roots->layers.empty()) return;
    const Digest layer = roots->layers.front();
    const LeaseRecord lease{schedule_.time().wall(), {layer}};
    if (!store_->create(leases_prefix(workspace) + "node/0", lease_record_json(lease))) return;
    const auto again = roots_of(StoreScope::workspace(workspace));  // still a root: nothing was collected before
    if (!again || std::ranges::find(again->layers, layer) == again->layers.end()) return;
    const MonoTime begun = schedule_.time().mono();
    while (schedule_.time().mono() - begun < kLeaseLife - minutes(20)) {
      if (!is_whole(store_->objects(), workspace, layer)) losses_.push_back("a leased layer: " + layer.hex());
      schedule_.sleep(minutes(5));
    }
  }

  GarbageCollector collector(Duration grace) {
    return {store_,
            [this](const StoreScope& scope) { return roots_of(scope); },
            {.grace = grace, .threads = 1, .time = schedule_.time()}};
  }
  void collect() {
    const Duration grace = schedule_.chance(50) ? Duration::zero() : Duration(seconds(schedule_.below(600)));
    for (int round = 0; round < 12 && !schedule_.dead(); ++round) {
      const StoreScope scope = scope_for(some_workspace());
      (void)collector(grace).run(scope);
      if (schedule_.chance(3)) schedule_.die();
      sleep_perhaps();
    }
  }
  Result<ScopeRoots> roots_of(const StoreScope& scope) {
    ScopeRoots roots;
    if (scope == StoreScope::shared()) return roots;
    TRY(const auto keys, store_->list(scope.prefix() + "/roots/"));
    for (const std::string& key : keys) {
      if (std::ranges::find(keys, key + ".removed") != keys.end() || key.ends_with(".removed")) continue;
      TRY(const std::string text, store_->get(key));
      for (size_t at = 0; at < text.size(); at += 65)
        roots.layers.push_back(Digest::parse(text.substr(at, 64)).value());
    }
    return roots;
  }

  // --- what must always hold; called between two calls, without going through the store's interface ---

  /// Whether a layer can be read by the workspace, with all its packs. Adds what it needs.
  static bool is_whole(const Objects& objects, const std::string& workspace, const Digest& layer,
                       std::set<std::string, std::less<>>* needed = nullptr) {
    bool whole = false;
    for (const std::string& key : layer_keys(StoreScope::workspace(workspace), layer)) {
      const auto index = objects.find(key);
      if (index == objects.end()) continue;
      whole = true;
      if (needed != nullptr) needed->insert(key);
      for (const Digest& pack : packs_of_index(index->second)) {
        bool found = false;
        for (const StoreScope& scope : StoreScope::lookup_order(workspace)) {
          if (key.starts_with("shared/") && scope != StoreScope::shared()) continue;
          if (!objects.contains(scope.pack_key(pack))) continue;
          found = true;
          if (needed != nullptr) needed->insert(scope.pack_key(pack));
        }
        if (!found) return false;
      }
    }
    return whole;
  }
  void add_needed(const std::string& root, std::set<std::string, std::less<>>& needed) const {
    const Objects& objects = store_->objects();
    if (root.ends_with(".removed") || objects.contains(root + ".removed")) return;
    const std::string& text = objects.find(root)->second;
    for (size_t at = 0; at < text.size(); at += 65) {
      (void)is_whole(objects, root.substr(3, 2), Digest::parse(text.substr(at, 64)).value(), &needed);
    }
  }
  void look_for_losses(const std::string& changed) {
    const Objects& objects = store_->objects();
    for (auto at = objects.begin(); at != objects.end(); ++at) {
      const std::string& key = at->first;
      if (key.contains("/layers/")) {
        const std::string workspace = key.starts_with("ws/") ? key.substr(3, 2) : "none";
        if (!is_whole(objects, workspace, Digest::parse(key.substr(key.size() - 64)).value())) {
          losses_.push_back("with " + changed + " broke " + key);
        }
      }
      if (!key.contains("/roots/") || key.ends_with(".removed") || objects.contains(key + ".removed")) continue;
      for (size_t line = 0; line < at->second.size(); line += 65) {
        const Digest layer = Digest::parse(at->second.substr(line, 64)).value();
        if (!is_whole(objects, key.substr(3, 2), layer)) losses_.push_back("with " + changed + " broke " + key);
      }
    }
  }

  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  SimulatedSchedule schedule_;
  Manners manners_;
  uint32_t next_root_ = 0;
  std::vector<std::string> losses_;
};

/// HEARTH_SIMULATION_SEEDS asks for more of them.
uint32_t seeds() {
  const char* wanted = std::getenv("HEARTH_SIMULATION_SEEDS");
  return wanted == nullptr ? 150 : static_cast<uint32_t>(std::strtoul(wanted, nullptr, 10));
}

class GarbageSimulation : public ::testing::Test {
 protected:
  void SetUp() override { log_configure("simulated fleet", LogLevel::error); }
  void TearDown() override { log_configure("image_test", LogLevel::info); }
};

TEST_F(GarbageSimulation, NothingNeededIsEverMissingAndNothingElseIsLeft) {
  for (uint32_t seed = 0; seed < seeds(); ++seed) {
    SimulatedFleet fleet(seed, Manners::careful);
    fleet.run();
    ASSERT_THAT(fleet.losses(), IsEmpty()) << "seed " << seed;
    ASSERT_THAT(fleet.left_over(), IsEmpty()) << "seed " << seed;
    ASSERT_THAT(fleet.losses(), IsEmpty()) << "seed " << seed;
  }
}

/// The simulation has teeth: the same fleet with writers that break one rule loses objects.
bool loses_something(Manners manners) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    SimulatedFleet fleet(seed, manners);
    fleet.run();
    if (!fleet.losses().empty()) return true;
  }
  return false;
}

TEST_F(GarbageSimulation, WritersThatDoNotKeepWhatTheyFindLoseIt) {
  EXPECT_TRUE(loses_something(Manners::without_keeping));
}

TEST_F(GarbageSimulation, WritersThatPublishAfterTheirIntentLapsedLoseObjects) {
  EXPECT_TRUE(loses_something(Manners::without_checking));
}

}  // namespace
}  // namespace hearth::image
