#include "node/router_session.hpp"

#include "node/json_fields.hpp"

#include <utility>

namespace hearth::node {

std::string error_json(std::string_view message) {
  return to_text({{"error", message}});
}

void RouterSession::connect(std::shared_ptr<WireLink> link) {
  flush();
  link_ = std::move(link);
  writer_ = wire::ResultBatchWriter(link_->peer_frame_limit());
  targets_.clear();
  leaving_ = false;
}

void RouterSession::disconnect() {
  link_.reset();
  writer_ = wire::ResultBatchWriter();
}

Replica* RouterSession::target(uint32_t handle) const {
  const auto found = targets_.find(handle);
  return found == targets_.end() ? nullptr : found->second;
}

std::vector<uint32_t> RouterSession::handles_of(const Replica* replica) const {
  std::vector<uint32_t> handles;
  for (const auto& [handle, target] : targets_) {
    if (target == replica) handles.push_back(handle);
  }
  return handles;
}

void RouterSession::forget(const Replica* replica) {
  std::erase_if(targets_, [replica](const auto& item) { return item.second == replica; });
}

void RouterSession::deliver(const wire::ResultEntry& entry, const wire::ResultPayload& payload, ResultOrigin origin) {
  const uint64_t seq = kept_.keep(entry, payload);
  origins_.push_back(std::move(origin));
  if (link_ == nullptr) return;
  if (!writer_.empty() && writer_.add(entry, payload) == wire::Added::yes) return;
  flush();
  first_in_writer_ = seq;
  if (writer_.add(entry, payload) == wire::Added::yes) return;
  // Larger than the router takes: it can only be told so. The kept copy would never fit either.
  link_->close();
}

void RouterSession::deliver_failure(uint64_t id, wire::Status status, std::string_view message) {
  const std::string value = error_json(message);
  deliver({.id = id, .status = status, .batch = 0}, {.value = value}, {});
  flush();
}

void RouterSession::flush() {
  if (writer_.empty()) return;
  writer_.write(out_, first_in_writer_);
  if (link_ != nullptr) link_->write(std::exchange(out_, {}));
  out_.clear();
}

void RouterSession::acknowledge(uint64_t seq) {
  const size_t before = kept_.count();
  if (before == 0) return;
  kept_.acknowledge(seq);
  for (size_t dropped = before - kept_.count(); dropped > 0; --dropped) {
    origins_.front().settle();
    origins_.pop_front();
  }
}

void RouterSession::send_again_after(uint64_t seq) {
  if (link_ == nullptr) return;
  flush();
  kept_.append_after(seq, out_, link_->peer_frame_limit());
  link_->write(std::exchange(out_, {}));
}

void RouterSession::settle_everything() {
  acknowledge(kept_.last_seq());
}

void RouterSession::send(std::string frames) {
  if (link_ != nullptr) link_->write(std::move(frames));
}

}  // namespace hearth::node
