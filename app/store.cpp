// hearth store du|gc|verify: the object store as a whole.
#include "app/duration_flag.hpp"
#include "app/remote.hpp"
#include "base/quantity.hpp"
#include "client/operation.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace hearth::app {

namespace {

using nlohmann::json;

constexpr milliseconds kLookAgainAfter{1000};  // while writers are waited for
constexpr size_t kUsersShown = 3;

struct Options {
  Remote remote;
  bool dry_run = false;
  bool wait = false;
  bool deep = false;
  std::string grace = "1h";
};

uint64_t bytes_of(const json& object, const char* tally) {
  return object.is_object() && object.contains(tally) ? count_of(object[tally], "bytes") : 0;
}
uint64_t objects_of(const json& object, const char* tally) {
  return object.is_object() && object.contains(tally) ? count_of(object[tally], "objects") : 0;
}
json list_of(const json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_array() ? object[name] : json::array();
}

Result<json> run(client::ApiClient& api, const std::string& path, const json& request) {
  client::Progress progress;
  TRY(auto started, api.post(path, request.dump()));
  TRY(auto body, client::follow_operation(api, started, progress));
  return parse_reply(body);
}

// --- du ---

void print_usage(const json& usage) {
  std::vector<std::vector<std::string>> rows = {{"WHERE", "OBJECTS", "SIZE"}};
  for (const json& scope : list_of(usage, "scopes")) {
    rows.push_back(
        {text_of(scope, "scope"), std::to_string(objects_of(scope, "total")), format_bytes(bytes_of(scope, "total"))});
    if (scope.contains("kinds") && scope["kinds"].is_object()) {
      for (const auto& [kind, tally] : scope["kinds"].items()) {
        rows.push_back(
            {"  " + kind, std::to_string(count_of(tally, "objects")), format_bytes(count_of(tally, "bytes"))});
      }
    }
    if (const uint64_t objects = objects_of(scope, "garbage"); objects > 0) {
      rows.push_back({"  (of it garbage)", std::to_string(objects), format_bytes(bytes_of(scope, "garbage"))});
    }
  }
  print_table(rows);
  std::printf("\n");
  rows = {{"USED BY", "VERSIONS", "CONTENT", "STORED", "ITS OWN"}};
  for (const json& owner : list_of(usage, "owners")) {
    rows.push_back({text_of(owner, "name"), text_of(owner, "versions"), format_bytes(count_of(owner, "content_bytes")),
                    format_bytes(count_of(owner, "stored_bytes")), format_bytes(count_of(owner, "own_bytes"))});
  }
  if (rows.size() > 1) print_table(rows);
  const uint64_t content = count_of(usage, "content_bytes");
  const uint64_t stored = count_of(usage, "stored_bytes");
  if (content > stored) {
    std::printf("\n%s of files lie in %s: sharing and compression save %.0f %%.\n", format_bytes(content).c_str(),
                format_bytes(stored).c_str(),
                100.0 * static_cast<double>(content - stored) / static_cast<double>(content));
  }
}

Result<> show_usage(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(const json usage, run(api, "/api/v1/store/du", json::object()));
  if (options.remote.json) {
    std::printf("%s\n", usage.dump().c_str());
  } else {
    print_usage(usage);
  }
  return {};
}

// --- gc ---

std::string count(const json& report, const char* tally) {
  const uint64_t objects = objects_of(report, tally);
  return std::to_string(objects) + (objects == 1 ? " object (" : " objects (") + format_bytes(bytes_of(report, tally)) +
         ")";
}

std::string in_time(double seconds) {
  return format_duration(milliseconds(static_cast<int64_t>(std::max(seconds, 1.0)) * 1000));
}

void add_tally(json& total, const json& more, const char* tally) {
  total[tally] = {{"objects", objects_of(total, tally) + objects_of(more, tally)},
                  {"bytes", bytes_of(total, tally) + bytes_of(more, tally)}};
}

void print_collection(const json& report) {
  const bool dry_run = report.value("dry_run", false);
  std::printf("%s %s\n", dry_run ? "Would delete" : "Deleted", count(report, "deleted").c_str());
  std::printf("%s %s as garbage\n", dry_run ? "Would condemn" : "Condemned", count(report, "condemned").c_str());
  if (objects_of(report, "waiting") > 0) std::printf("Condemned earlier: %s\n", count(report, "waiting").c_str());
  json kept = json::object();
  for (const json& scope : list_of(report, "scopes")) add_tally(kept, scope, "spared");
  if (objects_of(kept, "spared") > 0) {
    std::printf("%s in use: needed again, or mounted on a node\n", count(kept, "spared").c_str());
  }
  if (report.contains("ripe_in_seconds") && report["ripe_in_seconds"].is_number()) {
    std::printf("A run in %s or later deletes what is still unused then\n",
                in_time(report["ripe_in_seconds"].get<double>()).c_str());
  } else if (objects_of(report, "waiting") > 0) {
    std::printf("It goes when the deployments that are under way have ended\n");
  }
  for (const json& scope : list_of(report, "scopes")) {
    for (const json& problem : list_of(scope, "problems")) {
      std::fprintf(stderr, "hearth: cannot be read, and what it may need stays: %s\n",
                   problem.is_string() ? problem.get_ref<const std::string&>().c_str() : "");
    }
  }
}

/// Runs on until what the first run condemned is deleted, or needed again.
Result<json> wait_for_deletion(client::ApiClient& api, const json& request, json report) {
  for (;;) {
    const bool by_time = report.contains("ripe_in_seconds") && report["ripe_in_seconds"].is_number();
    Duration pause = kLookAgainAfter;
    if (by_time) {
      pause +=
          std::chrono::duration_cast<Duration>(std::chrono::duration<double>(report["ripe_in_seconds"].get<double>()));
      std::fprintf(stderr, "hearth: condemned %s; waiting %s before they are deleted\n",
                   count(report, "condemned").c_str(), in_time(report["ripe_in_seconds"].get<double>()).c_str());
    }
    std::this_thread::sleep_for(pause);
    TRY(json next, run(api, "/api/v1/store/gc", request));
    add_tally(next, report, "deleted");
    report = std::move(next);
    if (objects_of(report, "waiting") == 0) return report;
  }
}

Result<> collect(const Options& options) {
  const milliseconds grace = duration_of(options.grace, "--grace");
  const json request = {{"dry_run", options.dry_run}, {"grace_seconds", static_cast<double>(grace.count()) / 1000}};
  TRY(auto api, options.remote.open());
  TRY(json report, run(api, "/api/v1/store/gc", request));
  const bool more = objects_of(report, "condemned") + objects_of(report, "waiting") > 0;
  if (options.wait && !options.dry_run && more) {
    TRY(report, wait_for_deletion(api, request, std::move(report)));
  }
  if (options.remote.json) {
    std::printf("%s\n", report.dump().c_str());
  } else {
    print_collection(report);
  }
  return {};
}

// --- verify ---

void print_problem(const json& problem) {
  std::printf("BROKEN  %s: %s\n", text_of(problem, "object").c_str(), text_of(problem, "what").c_str());
  const json users = list_of(problem, "used_by");
  for (size_t i = 0; i < std::min(users.size(), kUsersShown); ++i) {
    std::printf("        used by %s\n", users[i].is_string() ? users[i].get_ref<const std::string&>().c_str() : "");
  }
  if (users.size() > kUsersShown) std::printf("        and %zu more\n", users.size() - kUsersShown);
}

Result<int> verify(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(const json report, run(api, "/api/v1/store/verify", {{"deep", options.deep}}));
  const uint64_t broken = count_of(report, "broken");
  if (options.remote.json) {
    std::printf("%s\n", report.dump().c_str());
    return broken == 0 ? kDone : kFailed;
  }
  for (const json& problem : list_of(report, "problems")) print_problem(problem);
  std::printf("%s layers, %s packs%s: %s\n", text_of(report, "layers").c_str(), text_of(report, "packs").c_str(),
              options.deep ? (" and " + text_of(report, "chunks") + " chunks (" +
                              format_bytes(count_of(report, "bytes_read")) + " read)")
                                 .c_str()
                           : "",
              broken == 0 ? "all whole" : (std::to_string(broken) + " problems").c_str());
  if (broken == 0 && !options.deep) std::printf("The content of packs was not looked at: --deep does\n");
  return broken == 0 ? kDone : kFailed;
}

void add_gc(CLI::App& store, const std::shared_ptr<Options>& options) {
  CLI::App* gc = store.add_subcommand("gc", "Delete what nothing refers to: condemned first, deleted by a later run");
  gc->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
  gc->add_option("--grace", options->grace, "How long garbage lies condemned before it goes, e.g. 30m")
      ->capture_default_str();
  gc->add_flag("--wait", options->wait, "Stay until what is garbage now is deleted");
  add_remote_options(*gc, options->remote);
  gc->footer("Safe beside deployments. Nodes do the same by themselves once a day (HEARTH_NODE_GC_EVERY).");
  on_run(*gc, [options] { return finish(collect(*options)); });
}

void add_store(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* store = parent.add_subcommand("store", "The object store: du, gc, verify")->group(kModelCommands);
  store->require_subcommand(1);
  CLI::App* du = store->add_subcommand("du", "Where the bytes are, and what sharing saves");
  add_remote_options(*du, options->remote);
  on_run(*du, [options] { return finish(show_usage(*options)); });
  add_gc(*store, options);
  CLI::App* check = store->add_subcommand("verify", "Check that everything that is needed is there and whole");
  check->add_flag("--deep", options->deep, "Read every pack and compare all bytes with their digests");
  add_remote_options(*check, options->remote);
  check->footer("Exit status 1 when something is broken.");
  on_run(*check, [options] {
    const auto status = verify(*options);
    return status ? *status : report(status.error());
  });
}

const Registration kRegistered("store", add_store);

}  // namespace

}  // namespace hearth::app
