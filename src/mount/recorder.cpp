#include "mount/recorder.hpp"

#include "image/start_history.hpp"
#include "mount/content_owners.hpp"

#include <utility>

namespace hearth::mount {

namespace {

/// Appends a run, as part of the last one where it goes on from there.
void append(image::PageRuns& runs, const image::PageRun& run) {
  if (!runs.empty() && runs.back().chunk == run.chunk && uint32_t{runs.back().first} + runs.back().pages == run.first) {
    runs.back().pages = static_cast<uint16_t>(runs.back().pages + run.pages);
  } else {
    runs.push_back(run);
  }
}

}  // namespace

Recorder::Recorder(std::shared_ptr<const LayerChunks> layer) : layer_(std::move(layer)) {
  const image::LayerIndex& index = layer_->index();
  for (uint32_t number = 0; number < index.pack_count(); ++number) packs_.emplace(index.pack(number).digest, number);
}

void Recorder::asked(const Digest& pack, const PageRange& range) {
  const auto number = packs_.find(pack);
  if (number == packs_.end()) return;
  const image::PageRuns runs = runs_at(*layer_, number->second, range);
  const std::lock_guard lock(mutex_);
  image::PageRuns added;
  for (const image::PageRun& run : runs) {
    if (seen_.bytes() + bytes_of(run) > image::kMaxRecordedBytes) break;
    seen_.insert(run, &added);
  }
  for (const image::PageRun& run : added) append(recording_.asked, run);
}

void Recorder::waited(Duration wait) {
  const std::lock_guard lock(mutex_);
  ++recording_.demand_waits;
  waited_ += wait;
}

StartRecording Recorder::recording() const {
  const std::lock_guard lock(mutex_);
  StartRecording copy = recording_;
  copy.waited_ms = static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(waited_).count());
  return copy;
}

}  // namespace hearth::mount
