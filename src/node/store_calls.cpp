#include "node/store_calls.hpp"

#include "catalog/names.hpp"
#include "node/json_fields.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace hearth::node {
namespace {

using nlohmann::json;

constexpr milliseconds kProgressEvery{100};
constexpr size_t kProblemsShown = 1000;

/// Tells how far it is, at most every kProgressEvery. Called by one thread at a time.
class Teller {
 public:
  explicit Teller(const CallControl& control) : control_(control) {}
  void tell(std::string_view phase, std::string_view message, uint64_t done, uint64_t total, std::string_view unit) {
    const MonoTime now = mono_now();
    if (phase == phase_ && done != total && now - told_ < kProgressEvery) return;
    told_ = now;
    phase_ = phase;
    json event = {{"phase", phase}};
    if (!message.empty()) event["message"] = message;
    if (total > 0) {
      event["done"] = done;
      event["total"] = total;
      event["unit"] = unit;
    }
    control_.progress(to_text(event));
  }

 private:
  const CallControl& control_;
  MonoTime told_{};
  std::string phase_;
};

Result<std::string> workspace_field(const json& params) {
  std::string workspace = text_field(params, "workspace");
  TRY_VOID(catalog::check_workspace_name(workspace));
  return workspace;
}

bool flag_field(const json& params, const char* name) {
  const json* value = field(params, name);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

json tally_json(const image::Tally& tally) {
  return {{"objects", tally.objects}, {"bytes", tally.bytes}};
}

json tallies_json(const image::TallyByKind& tallies) {
  json out = json::object();
  for (const auto& [kind, tally] : tallies) out[std::string(to_string(kind))] = tally_json(tally);
  return out;
}

image::Tally sum(const image::TallyByKind& tallies) {
  image::Tally all;
  for (const auto& [kind, tally] : tallies) {
    all.objects += tally.objects;
    all.bytes += tally.bytes;
  }
  return all;
}

Result<std::string> run_du(StoreCare& care, const json& params, const CallControl& control) {
  TRY(const std::string workspace, workspace_field(params));
  control.progress(to_text({{"phase", "look"}, {"message", "reading what lies in the store"}}));
  TRY(const image::StoreUsage usage, care.usage(workspace, control.stop));
  json scopes = json::array();
  for (const image::ScopeUsage& scope : usage.scopes) {
    json kinds = json::object();
    for (const auto& [kind, tally] : scope.kinds) kinds[kind] = tally_json(tally);
    scopes.push_back({{"scope", scope.name},
                      {"kinds", std::move(kinds)},
                      {"total", tally_json(scope.total)},
                      {"garbage", tally_json(scope.garbage)}});
  }
  json owners = json::array();
  for (const image::OwnerUsage& owner : usage.owners) {
    owners.push_back({{"name", owner.name},
                      {"versions", owner.versions},
                      {"content_bytes", owner.content_bytes},
                      {"stored_bytes", owner.stored_bytes},
                      {"own_bytes", owner.own_bytes}});
  }
  return to_text({{"scopes", std::move(scopes)},
                  {"owners", std::move(owners)},
                  {"content_bytes", usage.content_bytes},
                  {"stored_bytes", usage.stored_bytes}});
}

json report_json(const std::string& scope, const image::CollectReport& report) {
  json out = {{"scope", scope},
              {"deleted", tallies_json(report.deleted)},
              {"condemned", tallies_json(report.condemned)},
              {"waiting", tallies_json(report.waiting)},
              {"spared", tally_json(report.spared)},
              {"writers", report.writers},
              {"problems", report.problems}};
  if (report.ripe_in) {
    out["ripe_in_seconds"] = std::chrono::duration_cast<std::chrono::duration<double>>(*report.ripe_in).count();
  }
  return out;
}

Result<std::string> run_gc(StoreCare& care, const json& params, const CallControl& control) {
  TRY(const std::string workspace, workspace_field(params));
  Teller teller(control);
  image::CollectOptions options;
  if (field(params, "grace_ms") != nullptr) {
    options.grace = milliseconds(std::max<int64_t>(0, integer_field(params, "grace_ms")));
  }
  const bool dry_run = flag_field(params, "dry_run");
  options.mode = dry_run ? image::CollectMode::dry_run : image::CollectMode::collect;
  options.stop = control.stop;
  options.progress = [&teller](const image::CollectProgress& progress) {
    teller.tell(progress.phase, progress.message, progress.done, progress.total, "objects");
  };
  TRY(const auto reports,
      care.collect({image::StoreScope::workspace(workspace), image::StoreScope::shared()}, options));
  json scopes = json::array();
  image::Tally deleted;
  image::Tally condemned;
  image::Tally waiting;
  std::optional<double> ripe_in;
  uint64_t writers = 0;
  const auto add = [](image::Tally& to, const image::Tally& from) {
    to.objects += from.objects;
    to.bytes += from.bytes;
  };
  for (const auto& [scope, report] : reports) {
    add(deleted, sum(report.deleted));
    add(condemned, sum(report.condemned));
    add(waiting, sum(report.waiting));
    writers = std::max(writers, report.writers);
    json one = report_json(scope, report);
    if (one.contains("ripe_in_seconds")) {
      const double seconds = one["ripe_in_seconds"].get<double>();
      ripe_in = std::min(ripe_in.value_or(seconds), seconds);
    }
    scopes.push_back(std::move(one));
  }
  json out = {{"dry_run", dry_run},
              {"deleted", tally_json(deleted)},
              {"condemned", tally_json(condemned)},
              {"waiting", tally_json(waiting)},
              {"writers", writers},
              {"scopes", std::move(scopes)}};
  if (ripe_in) out["ripe_in_seconds"] = *ripe_in;
  return to_text(out);
}

Result<std::string> run_verify(StoreCare& care, const json& params, const CallControl& control) {
  TRY(const std::string workspace, workspace_field(params));
  Teller teller(control);
  image::CheckOptions options;
  options.depth = flag_field(params, "deep") ? image::CheckDepth::deep : image::CheckDepth::shallow;
  options.stop = control.stop;
  options.progress = [&teller](const image::CheckProgress& progress) {
    teller.tell(progress.phase, "", progress.done, progress.total, progress.phase == "packs" ? "B" : "indexes");
  };
  TRY(const image::CheckReport report, care.check(workspace, options));
  json problems = json::array();
  for (const image::StoreProblem& problem : report.problems) {
    if (problems.size() == kProblemsShown) break;
    problems.push_back({{"object", problem.object}, {"what", problem.what}, {"used_by", problem.used_by}});
  }
  return to_text({{"layers", report.layers},
                  {"packs", report.packs},
                  {"chunks", report.chunks},
                  {"bytes_read", report.bytes_read},
                  {"broken", report.problems.size()},
                  {"problems", std::move(problems)}});
}

using Method = Result<std::string> (*)(StoreCare&, const json&, const CallControl&);

BlockingCall bound(std::shared_ptr<StoreCare> care, Method method) {
  return [care = std::move(care), method](const std::string& params, const CallControl& control) {
    return method(*care, json::parse(params, nullptr, false), control);
  };
}

}  // namespace

std::map<std::string, BlockingCall> store_calls(const std::shared_ptr<StoreCare>& care) {
  return {
      {"store_du", bound(care, run_du)}, {"store_gc", bound(care, run_gc)}, {"store_verify", bound(care, run_verify)}};
}

}  // namespace hearth::node
