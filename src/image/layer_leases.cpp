#include "image/layer_leases.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace hearth::image {
namespace {

using nlohmann::json;

constexpr seconds kTryAgainAfter{30};
constexpr milliseconds kGather{200};  // a replica's layers are mounted together: one record for them
constexpr size_t kHolderBytes = 60;
constexpr int kReadAttempts = 20;

Unexpected wrong(std::string_view field) {
  return fail(ErrorCode::corrupt, fmt::format("lease: \"{}\" is missing or of the wrong kind", field));
}

/// As a part of a key.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kHolderBytes)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    out += fine ? c : '-';
  }
  return out;
}

Result<Leases> read_once(blob::ObjectStore& store, std::string_view workspace, WallTime now) {
  Leases leases;
  TRY(const auto keys, store.list(leases_prefix(workspace)));
  for (const std::string& key : keys) {
    TRY(const std::string text, store.get(key));
    auto record = parse_lease_record(text);
    if (!record) return fail_with_context(key, std::move(record).error());
    if (now - record->at >= kLeaseLife) {
      leases.void_records.push_back(key);
    } else {
      leases.layers.insert(record->layers.begin(), record->layers.end());
    }
  }
  return leases;
}

}  // namespace

std::string leases_prefix(std::string_view workspace) {
  return fmt::format("ws/{}/leases/", workspace);
}

std::string lease_record_json(const LeaseRecord& record) {
  json layers = json::array();
  for (const Digest& layer : record.layers) layers.push_back(layer.to_string());
  return json{{"format", 1}, {"at", to_iso8601(record.at)}, {"layers", std::move(layers)}}.dump();
}

Result<LeaseRecord> parse_lease_record(std::string_view text) {
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || value.value("format", json()) != 1) return wrong("format");
  const auto at = value.find("at");
  if (at == value.end() || !at->is_string()) return wrong("at");
  const auto time = from_iso8601(at->get_ref<const std::string&>());
  if (!time) return wrong("at");
  const auto layers = value.find("layers");
  if (layers == value.end() || !layers->is_array()) return wrong("layers");
  LeaseRecord record{.at = *time, .layers = {}};
  for (const json& layer : *layers) {
    if (!layer.is_string()) return wrong("layers");
    auto digest = Digest::parse(layer.get_ref<const std::string&>());
    if (!digest) return wrong("layers");
    record.layers.push_back(*digest);
  }
  return record;
}

Result<Leases> read_leases(blob::ObjectStore& store, std::string_view workspace, WallTime now) {
  for (int attempt = 1;; ++attempt) {
    auto leases = read_once(store, workspace, now);
    const bool changed = !leases && leases.error().code == ErrorCode::not_found;  // renewed while it was read
    if (!changed || attempt == kReadAttempts) return leases;
  }
}

LayerLeases::LayerLeases(std::shared_ptr<blob::ObjectStore> store, LeaseOptions options)
    : store_(std::move(store)), options_(std::move(options)), id_(plain(options_.holder) + "-" + random_id(8)) {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

LayerLeases::~LayerLeases() {
  thread_.request_stop();
  thread_.join();
}

void LayerLeases::add(const std::string& workspace, const Digest& layer) {
  const std::lock_guard lock(mutex_);
  Workspace& entry = workspaces_[workspace];
  if (++entry.layers[layer] > 1) return;
  ++entry.changes;
  changed_.notify_all();
}

void LayerLeases::remove(const std::string& workspace, const Digest& layer) {
  const std::lock_guard lock(mutex_);
  Workspace& entry = workspaces_[workspace];
  const auto found = entry.layers.find(layer);
  if (found == entry.layers.end() || --found->second > 0) return;
  entry.layers.erase(found);
  ++entry.changes;
  changed_.notify_all();
}

std::shared_ptr<void> LayerLeases::hold(const std::string& workspace, const Digest& layer) {
  add(workspace, layer);
  return {nullptr,
          [leases = shared_from_this(), workspace, layer](std::nullptr_t) { leases->remove(workspace, layer); }};
}

bool LayerLeases::is_wanted_back(const Digest& layer) {
  const std::lock_guard lock(mutex_);
  return wanted_back_.contains(layer);
}

bool LayerLeases::flush(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto done = [this] {
    return std::ranges::all_of(workspaces_,
                               [](const auto& item) { return item.second.written == item.second.changes; });
  };
  if (!deadline.at()) {
    written_.wait(lock, done);
    return true;
  }
  return written_.wait_until(lock, *deadline.at(), done);
}

bool LayerLeases::is_due(const Workspace& workspace) const {
  if (workspace.written < workspace.changes) return true;
  return workspace.leased() && options_.time.mono() - workspace.renewed >= options_.renew_every;
}

/// Writes what is due; false when something could not be written.
bool LayerLeases::write_due(std::unique_lock<std::mutex>& lock) {
  bool fine = true;
  std::vector<std::string> names;
  for (const auto& [name, workspace] : workspaces_) {
    if (is_due(workspace)) names.push_back(name);
  }
  for (const std::string& name : names) {
    Workspace& entry = workspaces_[name];  // entries are never removed
    const uint64_t changes = entry.changes;
    const uint64_t number = entry.next++;
    const MonoTime now = options_.time.mono();
    LeaseRecord record{.at = options_.time.wall(), .layers = {}};
    for (const auto& [layer, count] : entry.layers) record.layers.push_back(layer);
    lock.unlock();
    const auto written = write(name, number, record);
    lock.lock();
    if (written) {
      entry.written = changes;
      entry.renewed = now;
      written_.notify_all();
    } else {
      fine = false;
      log_warning("the lease of mounted layers could not be written",
                  {{"workspace", name}, {"error", written.error().message}});
    }
  }
  return fine;
}

/// The record before stays: a listing that is under way may miss the new one, and must then find that.
Result<> LayerLeases::write(const std::string& name, uint64_t number, const LeaseRecord& record) {
  const std::string folder = leases_prefix(name) + id_ + "/";
  TRY_VOID(store_->create(folder + std::to_string(number), lease_record_json(record)));
  if (number >= 2) TRY_VOID(store_->remove(folder + std::to_string(number - 2)));
  return {};
}

/// What is condemned although we lease it is kept by nobody else.
void LayerLeases::look_for_wanted(std::unique_lock<std::mutex>& lock) {
  std::set<std::string> scopes{"shared"};
  std::set<Digest> leased;
  for (const auto& [name, workspace] : workspaces_) {
    if (!workspace.leased()) continue;
    scopes.insert("ws/" + name);
    for (const auto& [layer, count] : workspace.layers) leased.insert(layer);
  }
  looked_ = options_.time.mono();
  if (leased.empty()) return;
  lock.unlock();
  std::set<Digest> wanted;
  for (const std::string& scope : scopes) {
    const auto marks = blob::read_marks(*store_, scope);
    if (!marks) break;  // looked for again later
    for (const blob::CondemnedMark& mark : *marks) {
      for (const std::string& key : mark.objects) {
        const auto layer = Digest::parse(std::string_view(key).substr(key.rfind('/') + 1));
        if (key.contains("/layers/") && layer && leased.contains(*layer)) wanted.insert(*layer);
      }
    }
  }
  lock.lock();
  wanted_back_ = std::move(wanted);
}

void LayerLeases::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const bool fine = write_due(lock);
    if (options_.time.mono() - looked_ >= options_.look_every) look_for_wanted(lock);
    const auto changed = [this] {
      return std::ranges::any_of(workspaces_, [this](const auto& item) { return is_due(item.second); });
    };
    if (!fine) {
      changed_.wait_for(lock, stop, kTryAgainAfter, [] { return false; });
    } else if (changed_.wait_for(lock, stop, std::min(options_.renew_every, options_.look_every), changed)) {
      changed_.wait_for(lock, stop, kGather, [] { return false; });
    }
  }
}

}  // namespace hearth::image
