// Node: what survives a restart of the node or the loss of a connection.
#include "base/log.hpp"
#include "node/json_fields.hpp"
#include "node/node.hpp"

#include <algorithm>
#include <utility>

namespace hearth::node {

namespace {
constexpr size_t kOrphansMax = 100'000;
}

/// Every replica some earlier node process has left: its processes live → adopted; half made or dead → removed.
void Node::adopt_all(const std::vector<std::string>& ids) {
  const std::string boot_id = machine_boot_id();
  for (const std::string& id : ids) {
    const std::filesystem::path directory = replica_directory(options_.run_dir, id);
    Result<ReplicaRecord> record = read_replica_record(directory);
    Result<catalog::VersionRecord> version = read_replica_version(directory);
    std::string dead;
    if (!record || !version) {
      dead = "no readable record";
    } else if (record->id != id || record->boot_id != boot_id) {
      dead = "of an earlier boot";
    } else if (record->phase == RecordPhase::starting) {
      dead = "half made";
    } else if (!parts_.launcher.is_running(record->process)) {
      dead = "its process is gone";
    } else if (const auto known = replicas_.find(record->key); known != replicas_.end() && known->second->pid() > 0) {
      dead = "there is another of this version";
    } else if (Result<> adopted = replica_for(record->key).adopt(*record, *version); !adopted) {
      dead = adopted.error().message;
    }
    if (dead.empty()) {
      log_info("replica adopted", {{"replica", id}, {"version", to_string(record->key)}});
      continue;
    }
    log_warning("replica of an earlier node removed", {{"replica", id}, {"reason", dead}});
    parts_.pool.submit([&launcher = parts_.launcher, id] {
      if (const Result<> gone = launcher.destroy(id); !gone) {
        log_error("replica not removed", {{"replica", id}, {"reason", gone.error().message}});
      }
    });
  }
}

/// A router has come back and names what it still waits for. Each id ends in exactly one way: its kept result, the
/// result when it is done, or status 9.
void Node::on_attach(RouterSession& session, const wire::Frame& frame) {
  acknowledge(session, frame.seq());
  session.send_again_after(frame.seq());
  std::vector<uint64_t> to_ask;
  for (const wire::IdEntry& entry : wire::Entries<wire::IdEntry>(frame)) {
    const uint64_t id = entry.id;
    if (session.keeps(id) || calls_.contains(id)) continue;
    if (const PendingRequest* request = context_.requests.find(id); request != nullptr) {
      if (request->session == &session) continue;
      session.deliver_failure(id, wire::Status::unknown, "that id belongs to another router");
      continue;
    }
    if (const auto found = orphans_.find(id); found != orphans_.end()) {
      const Orphan& orphan = found->second;
      session.deliver(orphan.entry, {orphan.value, orphan.stdout_text, orphan.stderr_text}, orphan.origin);
      session.flush();
      orphans_.erase(found);
      continue;
    }
    PendingRequest* request = context_.requests.add(id);
    request->session = &session;
    request->stage = RequestStage::asked;
    request->received = parts_.loop.now();
    to_ask.push_back(id);
  }
  if (to_ask.empty()) return;
  std::vector<std::pair<Replica*, uint32_t>> asked;
  for (const auto& [key, replica] : replicas_) {
    const uint32_t workers = replica->ask_workers(to_ask);
    for (uint32_t i = 0; i < workers; ++i) asked.emplace_back(replica.get(), i);
  }
  for (const uint64_t id : to_ask) {
    asked_[id] = {asked, false};
    answered_unknown(id);
  }
}

/// Answers when everybody who was asked has said no.
void Node::answered_unknown(uint64_t id) {
  const auto found = asked_.find(id);
  if (found == asked_.end() || !found->second.silent.empty()) return;
  const bool died = found->second.may_have_died_there;
  asked_.erase(found);
  PendingRequest* request = context_.requests.find(id);
  RouterSession* session = request->session;
  context_.requests.erase(id);
  if (session == nullptr) return;
  if (!died) return session->deliver_failure(id, wire::Status::unknown, "never arrived");
  session->deliver({.id = id, .status = wire::Status::worker_died, .batch = 0},
                   {.value = R"({"error":"the worker died while the node was restarted","exit":{}})"}, {});
  session->flush();
}

void Node::on_unexpected_result(Replica& replica, uint32_t worker, const wire::ResultView& result,
                                ResultOrigin origin) {
  PendingRequest* request = context_.requests.find(result.id);
  if (request == nullptr || request->stage != RequestStage::asked) {
    const bool may_be_wanted = request == nullptr && replica.is_adopted() && result.status != wire::Status::unknown &&
                               orphan_timer_.is_set() && orphans_.size() < kOrphansMax;
    if (!may_be_wanted) return origin.settle();
    orphans_[result.id] = {result, std::string(result.value), std::string(result.stdout_text),
                           std::string(result.stderr_text), std::move(origin)};
    return;
  }
  if (result.status == wire::Status::unknown) {
    origin.settle();
    std::erase(asked_[result.id].silent, std::pair(&replica, worker));
    return answered_unknown(result.id);
  }
  asked_.erase(result.id);
  RouterSession* session = request->session;
  context_.requests.erase(result.id);
  session->deliver(result, {result.value, result.stdout_text, result.stderr_text}, std::move(origin));
  context_.unflushed.insert(session);
}

void Node::on_worker_gone(Replica& replica, uint32_t worker) {
  std::vector<uint64_t> ids;
  for (auto& [id, asked] : asked_) {
    if (std::erase(asked.silent, std::pair(&replica, worker)) == 0) continue;
    asked.may_have_died_there = true;
    ids.push_back(id);
  }
  for (const uint64_t id : ids) answered_unknown(id);
}

/// Their routers never came back.
void Node::drop_orphans() {
  orphan_timer_.cancel();
  for (const auto& [id, orphan] : orphans_) orphan.origin.settle();
  orphans_.clear();
}

}  // namespace hearth::node
