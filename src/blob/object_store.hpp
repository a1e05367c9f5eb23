// Where everything durable lives: keys to immutable bytes. One small interface, so that every store behaves alike.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// Whether this call made the object, or it was there before (then nothing was written).
enum class Created { yes, no };

/// One object as a listing tells it.
struct ObjectInfo {
  std::string key;
  uint64_t size = 0;  // bytes
  bool operator==(const ObjectInfo&) const = default;
};

/// Takes bytes in order, as they come. Its error ends the read and is the read's answer.
using ByteSink = std::function<Result<>(std::string_view bytes)>;

struct ByteRange {
  static constexpr uint64_t kToEnd = ~uint64_t{0};
  uint64_t offset = 0;
  uint64_t length = kToEnd;
};

/// How long a caller waits, and how it says that it no longer does. Cancelling is prompt, also over the network.
struct Patience {
  Deadline deadline{};     // none: the store's own limits apply (a remote store retries for 20 s)
  std::stop_token stop{};  // answer: cancelled
};

/// All calls block (never on an event loop) and are safe from several threads and processes at once.
/// Keys are relative paths: parts of 1..255 bytes joined by '/', none of them "." or ".."; others are invalid_argument.
/// Common errors: unavailable (store missing or unreachable; repeating may help), exhausted (disk full), denied.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// The whole object. not_found if there is none.
  virtual Result<std::string> get(std::string_view key) = 0;
  /// Exactly `length` bytes from `offset`. corrupt when the object is shorter than that.
  virtual Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) = 0;

  /// The same, streamed: memory stays bounded however long the range is. What a sink was given stays right: after a cut
  /// connection the read goes on where it stopped. Without a length: to the end of the object. corrupt when it is
  /// shorter.
  virtual Result<> read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience);
  /// Whether a read is a network request: then stragglers are worth a second one, and connections are counted.
  virtual bool is_remote() const { return false; }

  /// Create-if-absent, atomic and durable when it returns: of any number of callers exactly one gets `yes`,
  /// and no reader ever sees a part.
  virtual Result<Created> create(std::string_view key, std::string_view bytes) = 0;
  /// The same with the content of a local file.
  virtual Result<Created> create_from_file(std::string_view key, const std::filesystem::path& path) = 0;

  /// Size in bytes, nullopt if there is no such object.
  virtual Result<std::optional<uint64_t>> size(std::string_view key) = 0;
  /// Full keys that begin with `prefix` (which need not end at a '/'), sorted by bytes.
  virtual Result<std::vector<std::string>> list(std::string_view prefix) = 0;
  /// The same with sizes. An object that is removed meanwhile may be left out.
  virtual Result<std::vector<ObjectInfo>> list_objects(std::string_view prefix);
  /// The names that keys below `folder` ("ws/"; ends with '/', or is empty) have up to their next '/', sorted; not the
  /// objects that lie in it directly. A name may stay for a while after its last object is gone.
  virtual Result<std::vector<std::string>> folders(std::string_view folder);
  /// Done also when there is no such object.
  virtual Result<> remove(std::string_view key) = 0;
};

/// A store directory that is not there: an error (it may be an unmounted disk), or to be made now.
enum class IfMissing { fail, create };

/// Opens a folder, "s3://BUCKET[/PREFIX]" or "gs://BUCKET[/PREFIX]" (docs/stores.md has the settings). Credentials come
/// from this process's environment and the files it names, read now. A bucket is not asked for anything yet.
Result<std::shared_ptr<ObjectStore>> open_store(std::string_view url, IfMissing if_missing = IfMissing::fail);

/// invalid_argument with the reason when the key is not one (see ObjectStore).
Result<> check_key(std::string_view key);
/// The same for what list() takes: the folders it names must be those of a key.
Result<> check_prefix(std::string_view prefix);

}  // namespace hearth::blob
