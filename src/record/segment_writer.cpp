#include "record/segment_writer.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "record/request_record.hpp"

#include <fcntl.h>

namespace hearth::record {
namespace {

constexpr uint64_t kIntoReserve = 0;  // as the segment of a flush target: offset is the reserve's generation

/// Numbers tell the time, so that they never come back when all segments are uploaded and gone: a stored segment is
/// known by its number.
uint64_t next_number(uint64_t last) {
  return std::max(last + 1, static_cast<uint64_t>(to_unix_us(wall_now())));
}

/// The lines without results, stdout, stderr and error. Answers how many lost something.
uint64_t without_texts(std::string_view lines, std::string& out) {
  uint64_t count = 0;
  for_each_line(lines, [&out, &count](std::string_view line) {
    if (const auto record = parse_record(line)) {
      append_json_line(out, *record, Texts::drop);
      ++count;
    } else {
      (out += line) += '\n';  // a row of usage
    }
  });
  return count;
}

uint64_t add_lines(UsageTable& usage, std::string_view lines) {
  uint64_t count = 0;
  for_each_line(lines, [&usage, &count](std::string_view line) { count += usage.add_line(line) ? 1 : 0; });
  return count;
}

}  // namespace

Result<SegmentWriter> SegmentWriter::open(std::filesystem::path directory, UsageReserve reserve) {
  SegmentWriter writer(std::move(directory), std::move(reserve));
  if (const auto target = writer.reserve_.left_target()) TRY_VOID(writer.take_back(*target));
  TRY(const auto segments, list_segments(writer.directory_));
  writer.number_ = next_number(segments.empty() ? 0 : segments.back().number);
  writer.held_ = writer.reserve_.left_behind();
  return writer;
}

Result<> SegmentWriter::recover(Journal& journal) {
  const auto target = journal.flush_target();
  if (!target) return {};
  if (target->segment != kIntoReserve) return take_back(*target);
  if (reserve_.generation() >= target->offset) journal.clear();  // it is counted there already
  return {};
}

Result<> SegmentWriter::take_back(FlushTarget target) {
  const auto path = segment_path(directory_, target.segment, SegmentKind::live);
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error || size <= target.offset) return {};  // nothing of it was written
  std::filesystem::resize_file(path, target.offset, error);
  if (error) return fail_errno("take back an unfinished write in " + path.string(), error.value());
  return {};
}

Result<> SegmentWriter::open_segment() {
  if (fd_) return {};
  TRY(fd_, open_file(segment_path(directory_, number_, SegmentKind::live), O_WRONLY | O_CREAT | O_EXCL | O_APPEND,
                     kSpoolFileMode));
  size_ = 0;
  opened_at_ = mono_now();
  return {};
}

/// All or nothing: a part that was written is cut off again.
Result<> SegmentWriter::append(std::string_view lines) {
  if (lines.empty()) return {};
  TRY_VOID(open_segment());
  auto written = write_all(fd_.get(), lines, "the record spool");
  if (!written) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) {
      log_error("cannot cut off an unfinished write in the record spool", {{"segment", number_}});
    }
    return written;
  }
  size_ += lines.size();
  dirty_ = true;
  return {};
}

Result<uint64_t> SegmentWriter::keep_what_fits(std::string_view lines, Journal* journal, Error error) {
  if (!disk_full_) {
    log_error("the record spool cannot be written: log texts are dropped, usage is kept", {{"error", error.message}});
  }
  disk_full_ = true;
  std::string smaller;
  const uint64_t dropped = without_texts(lines, smaller);
  if (append(smaller)) {
    if (journal != nullptr) journal->clear();
    return dropped;
  }
  const uint64_t lost_lines = add_lines(held_, lines);
  if (journal != nullptr) journal->begin_flush({kIntoReserve, reserve_.generation() + 1});
  auto stored = reserve_.store(held_);
  if (journal != nullptr) journal->clear();
  if (!stored) log_error("usage is kept in memory alone", {{"error", stored.error().message}});
  return lost_lines;
}

Result<> SegmentWriter::write_held() {
  if (held_.empty()) return {};
  TRY_VOID(open_segment());
  TRY_VOID(reserve_.store(held_, FlushTarget{number_, size_}));
  auto written = append(held_.to_lines());
  if (written) held_.clear();
  TRY_VOID(reserve_.store(held_));
  return written;
}

Result<uint64_t> SegmentWriter::write(Journal& journal) {
  if (journal.empty()) {
    journal.clear();
    return uint64_t{0};
  }
  auto ready = write_held();
  if (ready) ready = open_segment();
  if (ready) {
    journal.begin_flush({number_, size_});
    ready = append(journal.content());
  }
  if (!ready) return keep_what_fits(journal.content(), &journal, std::move(ready).error());
  journal.clear();
  if (disk_full_) log_info("the record spool has room again");
  disk_full_ = false;
  return uint64_t{0};
}

Result<uint64_t> SegmentWriter::write(std::string_view lines) {
  if (lines.empty()) return uint64_t{0};
  auto written = append(lines);
  if (!written) return keep_what_fits(lines, nullptr, std::move(written).error());
  return uint64_t{0};
}

Result<> SegmentWriter::write(const UsageTable& usage) {
  if (usage.empty()) return {};
  for (const auto& [key, counts] : usage.rows()) held_.add(key, counts);
  if (write_held()) return {};
  disk_full_ = true;
  return reserve_.store(held_);
}

Result<> SegmentWriter::sync() {
  if (!dirty_) return {};
  if (::fdatasync(fd_.get()) != 0) return fail_errno("sync the record spool", errno);
  dirty_ = false;
  return {};
}

Result<> SegmentWriter::rotate() {
  if (!fd_) return {};
  TRY_VOID(sync());
  fd_.reset();
  number_ = next_number(number_);
  size_ = 0;
  return {};
}

}  // namespace hearth::record
