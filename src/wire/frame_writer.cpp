#include "wire/frame_writer.hpp"

#include "base/little_endian.hpp"
#include "base/result.hpp"

namespace hearth::wire {
namespace {

/// True when `count` entries with `bytes` in all after the header make a legal frame.
bool fits(size_t count, size_t bytes, size_t limit) {
  return count <= kMaxEntries && bytes <= limit;
}

void append_ids(std::string& out, FrameType type, uint64_t seq, const std::vector<uint64_t>& ids) {
  CHECK_PROMISE(ids.size() <= kMaxEntries);
  append_header(out, {.length = static_cast<uint32_t>(ids.size() * IdEntry::kWireBytes),
                      .type = type,
                      .count = static_cast<uint16_t>(ids.size()),
                      .seq = seq});
  for (const uint64_t id : ids) append_le(out, id);
}

}  // namespace

void append_header(std::string& out, const FrameHeader& header) {
  append_le(out, header.length);
  append_le(out, static_cast<uint8_t>(header.type));
  append_le(out, header.flags);
  append_le(out, header.count);
  append_le(out, header.seq);
}

Added RequestBatchWriter::add(const RequestEntry& entry, std::string_view payload) {
  const size_t bytes = entries_.size() + RequestEntry::kWireBytes + payload_bytes_ + payload.size();
  if (!fits(payloads_.size() + 1, bytes, limit_)) return Added::full;
  append_le(entries_, entry.id);
  append_le(entries_, entry.target);
  append_le(entries_, static_cast<uint32_t>(payload.size()));
  append_le(entries_, entry.deadline_ms);
  append_le(entries_, static_cast<uint8_t>(entry.kind));
  entries_.append(3, '\0');
  payloads_.push_back(payload);
  payload_bytes_ += payload.size();
  return Added::yes;
}

void RequestBatchWriter::write(std::string& out, uint64_t ack_seq) {
  if (payloads_.empty()) return;
  append_header(out, {.length = static_cast<uint32_t>(entries_.size() + payload_bytes_),
                      .type = FrameType::requests,
                      .count = static_cast<uint16_t>(payloads_.size()),
                      .seq = ack_seq});
  out.append(entries_);
  for (const std::string_view payload : payloads_) out.append(payload);
  entries_.clear();
  payloads_.clear();
  payload_bytes_ = 0;
}

Added ResultBatchWriter::add(const ResultEntry& entry, const ResultPayload& payload) {
  const size_t bytes = entries_.size() + ResultEntry::kWireBytes + payload_bytes_ + payload.size();
  if (!fits(payloads_.size() + 1, bytes, limit_)) return Added::full;
  append_le(entries_, entry.id);
  append_le(entries_, static_cast<uint8_t>(entry.status));
  append_le(entries_, entry.flags);
  append_le(entries_, entry.batch);
  append_le(entries_, static_cast<uint32_t>(payload.value.size()));
  append_le(entries_, static_cast<uint32_t>(payload.stdout_text.size()));
  append_le(entries_, static_cast<uint32_t>(payload.stderr_text.size()));
  append_le(entries_, entry.run_us);
  append_le(entries_, entry.cpu_us);
  append_le(entries_, entry.wait_us);
  append_le(entries_, entry.rss_kib);
  payloads_.push_back(payload);
  payload_bytes_ += payload.size();
  return Added::yes;
}

void ResultBatchWriter::write(std::string& out, uint64_t first_seq) {
  if (payloads_.empty()) return;
  append_header(out, {.length = static_cast<uint32_t>(entries_.size() + payload_bytes_),
                      .type = FrameType::results,
                      .count = static_cast<uint16_t>(payloads_.size()),
                      .seq = first_seq});
  out.append(entries_);
  for (const ResultPayload& payload : payloads_) {
    out.append(payload.value);
    out.append(payload.stdout_text);
    out.append(payload.stderr_text);
  }
  entries_.clear();
  payloads_.clear();
  payload_bytes_ = 0;
}

void append_empty(std::string& out, FrameType type, uint64_t seq) {
  append_header(out, {.type = type, .seq = seq});
}

void append_json(std::string& out, FrameType type, uint64_t seq, std::string_view json) {
  CHECK_PROMISE(json.size() <= kMaxFrameBytes);
  append_header(out, {.length = static_cast<uint32_t>(json.size()), .type = type, .seq = seq});
  out.append(json);
}

void append_credits(std::string& out, const std::vector<CreditEntry>& credits) {
  CHECK_PROMISE(credits.size() <= kMaxEntries);
  append_header(out, {.length = static_cast<uint32_t>(credits.size() * CreditEntry::kWireBytes),
                      .type = FrameType::credits,
                      .count = static_cast<uint16_t>(credits.size())});
  for (const CreditEntry& entry : credits) {
    append_le(out, entry.target);
    append_le(out, entry.limit);
  }
}

void append_cancel(std::string& out, const std::vector<uint64_t>& ids) {
  append_ids(out, FrameType::cancel, 0, ids);
}

void append_attach(std::string& out, uint64_t seq, const std::vector<uint64_t>& ids) {
  append_ids(out, FrameType::attach, seq, ids);
}

void append_progress(std::string& out, uint64_t id, std::string_view json) {
  CHECK_PROMISE(json.size() <= kMaxFrameBytes - ProgressEntry::kWireBytes);
  append_header(out, {.length = static_cast<uint32_t>(ProgressEntry::kWireBytes + json.size()),
                      .type = FrameType::progress,
                      .count = 1});
  append_le(out, id);
  append_le(out, static_cast<uint32_t>(json.size()));
  append_le(out, uint32_t{0});
  out.append(json);
}

}  // namespace hearth::wire
