#include "record/record_writer.hpp"

#include "base/log.hpp"
#include "record/journal.hpp"
#include "record/segment_uploader.hpp"
#include "record/segment_writer.hpp"
#include "record/spool.hpp"

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace hearth::record {

// Two threads beside the callers: the writer owns SegmentWriter, the uploader owns SegmentUploader. `mutex` guards what
// callers touch (the active journal, overflow, counted) and is never held during I/O.
struct RecordWriter::State {
  State(const WriterConfig& c, Spool s, std::array<Journal, 2> j, SegmentWriter w,
        std::shared_ptr<blob::ObjectStore> store)
      : config(c),
        spool(std::move(s)),
        journals(std::move(j)),
        writer(std::move(w)),
        uploader(config, spool, std::move(store)) {}

  void write_loop();
  void write_once();
  void upload_loop();
  Result<> sync_or_rotate(bool close_segment, bool sync_now);
  void append_elsewhere(const std::string& line);
  /// The journal will soon be full: the writer must not sleep on.
  bool is_urgent() const {
    return !overflow.empty() || journals.at(active).content().size() > config.journal_bytes / 2;
  }

  const WriterConfig config;
  Spool spool;
  std::array<Journal, 2> journals;
  SegmentWriter writer;      // writer thread only
  SegmentUploader uploader;  // uploader thread only

  std::mutex mutex;
  std::condition_variable wake_writer;
  std::condition_variable wake_uploader;
  std::condition_variable progressed;
  size_t active = 0;     // journal that is appended to; the writer owns the other
  std::string overflow;  // what the journal had no room for
  UsageTable counted;    // what `overflow` had no room for
  uint64_t current = 1;  // segments below are closed
  uint64_t wanted = 0;   // flush tickets given …
  uint64_t written = 0;  // … and done: written and synced
  uint64_t uploaded_below = 0;
  uint64_t upload_wanted = 0;
  uint64_t upload_done = 0;
  Result<> last_write;
  Result<> last_upload;
  WriterStats stats;
  bool idle = true;    // the writer sleeps until there is something: then it must be woken
  MonoTime synced_at;  // writer thread only
  bool rotate_now = false;
  bool stopping = false;
  bool writer_stopped = false;

  std::thread write_thread;
  std::thread upload_thread;
};

namespace {

constexpr std::chrono::seconds kHousekeeping{2};

Result<std::array<Journal, 2>> open_journals(const WriterConfig& config) {
  TRY(Journal first, Journal::open(config.directory / "journal-0", config.journal_bytes));
  TRY(Journal second, Journal::open(config.directory / "journal-1", config.journal_bytes));
  return std::array<Journal, 2>{std::move(first), std::move(second)};
}

}  // namespace

/// One turn of the writer thread: everything appended so far goes to the segment.
void RecordWriter::State::write_once() {
  std::string lines;
  UsageTable sums;
  uint64_t ticket = 0;
  bool close_segment = false;
  Journal* full = nullptr;
  {
    const std::scoped_lock lock(mutex);
    full = &journals.at(active);
    active = 1 - active;  // empty: the last turn cleared it
    lines.swap(overflow);
    std::swap(sums, counted);
    ticket = wanted;
    close_segment = std::exchange(rotate_now, false);
  }
  uint64_t dropped = 0;
  Result<> result;
  const auto note = [&result](Result<> done) {
    if (!done && result) result = std::move(done);
  };
  for (auto done : {writer.write(*full), writer.write(lines)}) {
    if (done) dropped += *done;
    if (!done) note(Unexpected(done.error()));
  }
  note(writer.write(sums));
  note(sync_or_rotate(close_segment, ticket > written));

  const std::scoped_lock lock(mutex);
  stats.without_text += dropped;
  stats.disk_full = writer.disk_full();
  if (!result && last_write) log_error("records cannot be written", {{"error", result.error().message}});
  last_write = std::move(result);
  written = std::max(written, ticket);
  if (current != writer.current()) {
    current = writer.current();
    wake_uploader.notify_one();
  }
  progressed.notify_all();
}

Result<> RecordWriter::State::sync_or_rotate(bool close_segment, bool sync_now) {
  const MonoTime now = mono_now();
  const bool old = writer.size() > 0 && now - writer.opened_at() >= config.segment_age;
  if (close_segment || old || writer.size() >= config.segment_bytes) return writer.rotate();
  if (!sync_now && now - synced_at < config.sync_every) return {};
  synced_at = now;
  return writer.sync();
}

void RecordWriter::State::write_loop() {
  bool last_turn = false;
  while (!last_turn) {
    {
      std::unique_lock lock(mutex);
      const auto something = [this] {
        return stopping || wanted > written || rotate_now || !journals.at(active).empty() || !overflow.empty() ||
               !counted.empty();
      };
      idle = true;
      // With something unsynced or a segment to close by age, the writer looks again on its own.
      wake_writer.wait_for(lock, writer.size() > 0 ? config.sync_every : milliseconds(3'600'000), something);
      idle = false;
      const auto urgent = [this] { return stopping || wanted > written || rotate_now || is_urgent(); };
      wake_writer.wait_for(lock, config.flush_every, urgent);
      last_turn = stopping;
      if (last_turn) rotate_now = true;
    }
    write_once();
  }
  const std::scoped_lock lock(mutex);
  writer_stopped = true;
  wake_uploader.notify_one();
}

void RecordWriter::State::upload_loop() {
  Duration pause = kHousekeeping;
  while (true) {
    uint64_t closed = 0;
    uint64_t ticket = 0;
    bool disk_full = false;
    {
      std::unique_lock lock(mutex);
      const uint64_t seen = uploaded_below;
      wake_uploader.wait_for(lock, pause, [this, seen] {
        return writer_stopped || upload_wanted > upload_done || (current > seen && last_upload);
      });
      if (writer_stopped) return;
      closed = current;
      ticket = upload_wanted;
      disk_full = stats.disk_full;
    }
    Result<> uploaded = uploader.upload_closed(closed);
    auto shrunk = uploader.shrink_spool(closed, disk_full ? 0 : config.spool_bytes);
    uploader.remove_uploaded(wall_now());

    const std::scoped_lock lock(mutex);
    const UploadCounts counts = uploader.take_counts();
    stats.segments_uploaded += counts.uploaded;
    stats.segments_reduced += counts.reduced;
    if (!shrunk) log_warning("the record spool cannot be reduced", {{"error", shrunk.error().message}});
    if (!uploaded) {
      ++stats.upload_failures;
      log_warning("records cannot be stored now and stay in the spool", {{"error", uploaded.error().message}});
    }
    pause = uploaded ? Duration(kHousekeeping) : Duration(config.retry_every);
    if (uploaded) uploaded_below = closed;
    last_upload = std::move(uploaded);
    upload_done = std::max(upload_done, ticket);
    progressed.notify_all();
  }
}

RecordWriter::RecordWriter(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->current = state_->writer.current();
  state_->write_thread = std::thread(&State::write_loop, state_.get());
  state_->upload_thread = std::thread(&State::upload_loop, state_.get());
}

RecordWriter::~RecordWriter() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->stopping = true;
    state_->wake_writer.notify_one();
  }
  state_->write_thread.join();
  state_->upload_thread.join();
}

Result<std::unique_ptr<RecordWriter>> RecordWriter::open(const WriterConfig& config,
                                                         std::shared_ptr<blob::ObjectStore> store) {
  TRY(Spool spool, Spool::open(config.directory));
  TRY(UsageReserve reserve, UsageReserve::open(config.directory / "reserve"));
  TRY(auto journals, open_journals(config));
  TRY(SegmentWriter writer, SegmentWriter::open(config.directory, std::move(reserve)));
  for (Journal& journal : journals) TRY_VOID(writer.recover(journal));
  // The one that was being written holds the older records.
  const size_t first = journals[1].flush_target() ? 1 : 0;
  TRY_VOID(writer.write(journals.at(first)));
  TRY_VOID(writer.write(journals.at(1 - first)));
  TRY_VOID(writer.rotate());
  auto state =
      std::make_unique<State>(config, std::move(spool), std::move(journals), std::move(writer), std::move(store));
  return std::unique_ptr<RecordWriter>(new RecordWriter(std::move(state)));
}

void RecordWriter::append(const RequestRecord& record) {
  thread_local std::string line;
  line.clear();
  append_json_line(line, record);
  const std::scoped_lock lock(state_->mutex);
  ++state_->stats.appended;
  if (!state_->journals.at(state_->active).append(line)) state_->append_elsewhere(line);
  if (state_->idle || state_->is_urgent()) {
    state_->idle = false;  // one wake-up is enough
    state_->wake_writer.notify_one();
  }
}

/// The journal is full: the disk is slower than the requests, or full itself.
void RecordWriter::State::append_elsewhere(const std::string& line) {
  if (overflow.size() + line.size() <= config.buffer_bytes) {
    overflow += line;
    return;
  }
  ++stats.without_text;
  counted.add_line(std::string_view(line).substr(0, line.size() - 1));
}

Result<> RecordWriter::flush() {
  std::unique_lock lock(state_->mutex);
  const uint64_t ticket = ++state_->wanted;
  state_->wake_writer.notify_one();
  state_->progressed.wait(lock, [this, ticket] { return state_->written >= ticket; });
  return state_->last_write;
}

Result<> RecordWriter::upload() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->rotate_now = true;
  }
  TRY_VOID(flush());
  std::unique_lock lock(state_->mutex);
  const uint64_t ticket = ++state_->upload_wanted;
  state_->wake_uploader.notify_one();
  state_->progressed.wait(lock, [this, ticket] { return state_->upload_done >= ticket; });
  return state_->last_upload;
}

WriterStats RecordWriter::stats() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->stats;
}

}  // namespace hearth::record
