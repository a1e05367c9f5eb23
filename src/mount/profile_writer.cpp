#include "mount/profile_writer.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "blob/intent.hpp"
#include "image/bundle.hpp"
#include "mount/verified_pages.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <utility>

namespace hearth::mount {

namespace {

using image::BundleRef;
using image::Coverage;
using image::Profile;
using image::StartHistory;
using image::StoreScope;

constexpr int kLowestPriority = 19;

/// A file without a name: nothing is left of it whenever we end.
Result<UniqueFd> make_draft(const std::filesystem::path& directory) {
  TRY_VOID(make_directories(directory, 0700));
  return open_file(directory, O_TMPFILE | O_RDWR, 0600);
}

/// One start on its way into the store.
class Lesson {
 public:
  Lesson(const RecordedStart& start, const ProfileWriterOptions& options, WallTime now)
      : start_(start), options_(options), now_(now), scope_(StoreScope::workspace(start.layer->workspace())) {}

  Result<Learned> learn(const std::stop_token& stop) {
    if (bytes_of(start_.recording.asked) < kMinTaughtBytes) return Learned::too_little;
    const Digest& layer = start_.layer->index().digest();
    TRY(auto known, image::find_profile(*options_.store, scope_, layer, start_.profile));
    const Profile before = known.value_or(Profile{.layer = layer, .key = start_.profile});
    const image::StartFigures figures = figures_of_start();
    Profile next = image::next_generation(before, figures, now_);
    if (!wants_bundle(before, figures.met)) {
      if (!image::is_worth_writing(before, now_)) return Learned::nothing;
      TRY(const auto created, options_.store->create(image::profile_object_key(scope_, next), to_json(next)));
      return created == blob::Created::yes ? Learned::figures : Learned::outrun;
    }
    TRY(const auto intent, blob::Intent::begin(options_.store, {.workspace = start_.layer->workspace(),
                                                                .owner = "imagefs, profile " + start_.profile}));
    TRY(next.bundle, write_bundle(before, *intent, stop));
    TRY_VOID(intent->check());
    TRY(const auto created, options_.store->create(image::profile_object_key(scope_, next), to_json(next)));
    return created == blob::Created::yes ? Learned::bundle : Learned::outrun;
  }

 private:
  image::StartFigures figures_of_start() const {
    const StartRecording& recording = start_.recording;
    return {.at = start_.at,
            .asked_bytes = bytes_of(recording.asked),
            .met = start_.bundle ? coverage(recording.asked, *start_.bundle) : Coverage{},
            .demand_waits = recording.demand_waits,
            .waited_ms = recording.waited_ms};
  }

  /// A start that had no bundle although there is one (it could not be read, or is newer) says nothing against it.
  bool wants_bundle(const Profile& before, const Coverage& met) const {
    if (!before.bundle) return true;
    return start_.bundle && image::is_poor(met) && image::may_write_bundle(before, now_);
  }

  Result<BundleRef> write_bundle(const Profile& before, blob::Intent& intent, const std::stop_token& stop) const {
    StartHistory history;
    if (before.bundle) {
      auto read = image::read_bundle_history(*options_.store, scope_, *before.bundle);
      if (!read && read.error().code == ErrorCode::unavailable) return Unexpected(std::move(read).error());
      if (read) history = std::move(*read);  // else it begins again with this start
    }
    remember(history, start_.recording.asked);
    image::PageRuns runs = select_pages(history);
    if (!image::fits(runs, start_.layer->index())) {  // what an older start read came from outside: the store
      history = {};
      remember(history, start_.recording.asked);
      runs = select_pages(history);
    }
    TRY(const UniqueFd draft, make_draft(options_.directory));
    VerifiedPages pages(start_.layer, *options_.fetcher);
    const auto source = [&pages](const image::PageRun& run, char* to) { return pages.read(run, to); };
    TRY(BundleRef bundle,
        image::write_bundle(draft.get(), {start_.layer->index().digest(), runs, history}, source, {.stop = stop}));
    const auto path = "/proc/self/fd/" + std::to_string(draft.get());
    TRY_VOID(intent.create_from_file(image::bundle_object_key(scope_, bundle.digest), path));
    return bundle;
  }

  const RecordedStart& start_;
  const ProfileWriterOptions& options_;
  const WallTime now_;
  const StoreScope scope_;
};

}  // namespace

std::string_view to_string(Learned learned) {
  switch (learned) {
    case Learned::too_little:
      return "too_little";
    case Learned::nothing:
      return "nothing";
    case Learned::figures:
      return "figures";
    case Learned::bundle:
      return "bundle";
    case Learned::outrun:
      return "outrun";
  }
  return "nothing";
}

Result<Learned> learn(const RecordedStart& start, const ProfileWriterOptions& options, WallTime now,
                      const std::stop_token& stop) {
  return Lesson(start, options, now).learn(stop);
}

ProfileWriter::ProfileWriter(ProfileWriterOptions options)
    : options_(std::move(options)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

ProfileWriter::~ProfileWriter() = default;

void ProfileWriter::add(RecordedStart start) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kQueued) {
    log_warning("too many starts to learn from; one is left out", {{"profile", start.profile}});
    return;
  }
  queue_.push_back(std::move(start));
  changed_.notify_all();
}

void ProfileWriter::wait_until_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

void ProfileWriter::run(const std::stop_token& stop) {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kLowestPriority);
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !queue_.empty(); }) && !stop.stop_requested()) {
    std::optional<RecordedStart> start(std::move(queue_.front()));
    queue_.pop_front();
    busy_ = true;
    lock.unlock();
    const auto learned = learn(*start, options_, wall_now(), stop);
    if (!learned && !stop.stop_requested()) {
      log_warning("nothing was learned from a start",
                  {{"profile", start->profile}, {"error", learned.error().message}});
    } else if (learned) {
      log_info("learned from a start", {{"profile", start->profile},
                                        {"layer", start->layer->index().digest().hex().substr(0, 12)},
                                        {"asked_bytes", bytes_of(start->recording.asked)},
                                        {"outcome", to_string(*learned)}});
    }
    if (options_.metrics != nullptr) {
      options_.metrics
          ->counter("hearth_imagefs_starts_learned_total", "Recorded starts, by what became of them",
                    {{"outcome", learned ? std::string(to_string(*learned)) : "failed"}})
          .add();
    }
    start.reset();  // the layer may go
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace hearth::mount
