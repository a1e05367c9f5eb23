#include "wire/kept_results.hpp"

#include "base/result.hpp"

#include <algorithm>

namespace hearth::wire {
namespace {

ResultPayload payload_of(const ResultEntry& entry, std::string_view bytes) {
  return {.value = bytes.substr(0, entry.value_len),
          .stdout_text = bytes.substr(entry.value_len, entry.stdout_len),
          .stderr_text = bytes.substr(entry.value_len + entry.stdout_len)};
}

}  // namespace

uint64_t KeptResults::keep(const ResultEntry& entry, const ResultPayload& payload) {
  Kept kept{entry, {}};
  kept.entry.value_len = static_cast<uint32_t>(payload.value.size());
  kept.entry.stdout_len = static_cast<uint32_t>(payload.stdout_text.size());
  kept.entry.stderr_len = static_cast<uint32_t>(payload.stderr_text.size());
  kept.payload.reserve(payload.size());
  kept.payload.append(payload.value).append(payload.stdout_text).append(payload.stderr_text);
  bytes_ += kept.payload.size();
  kept_.push_back(std::move(kept));
  return next_seq_++;
}

void KeptResults::acknowledge(uint64_t seq) {
  if (seq > last_seq()) return;
  while (!kept_.empty() && next_seq_ - kept_.size() <= seq) {
    bytes_ -= kept_.front().payload.size();
    kept_.pop_front();
  }
}

uint64_t KeptResults::append_after(uint64_t seq, std::string& out, size_t frame_limit_bytes) const {
  if (seq > last_seq()) seq = 0;
  const uint64_t first_kept = next_seq_ - kept_.size();
  uint64_t frame_first = std::max(seq + 1, first_kept);
  ResultBatchWriter writer(frame_limit_bytes);
  for (uint64_t at = frame_first; at < next_seq_; ++at) {
    const Kept& kept = kept_[at - first_kept];
    if (writer.add(kept.entry, payload_of(kept.entry, kept.payload)) == Added::yes) continue;
    writer.write(out, frame_first);
    frame_first = at;
    const Added added = writer.add(kept.entry, payload_of(kept.entry, kept.payload));
    CHECK_PROMISE(added == Added::yes);
  }
  writer.write(out, frame_first);
  return last_seq();
}

bool KeptResults::has(uint64_t id) const {
  return std::ranges::any_of(kept_, [id](const Kept& kept) { return kept.entry.id == id; });
}

}  // namespace hearth::wire
