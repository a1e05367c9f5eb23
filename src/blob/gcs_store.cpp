#include "blob/gcs_store.hpp"

#include "base/file.hpp"
#include "blob/gcs_session.hpp"
#include "blob/gcs_upload.hpp"
#include "blob/remote_range.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace hearth::blob {

namespace {

constexpr size_t kObjectNameMaxBytes = 1024;

}  // namespace

Result<std::shared_ptr<GcsStore>> GcsStore::open(std::string_view url, const StoreEnvironment& environment) {
  TRY(auto location, GcsLocation::of(url, environment));
  return std::shared_ptr<GcsStore>(new GcsStore(std::make_unique<GcsSession>(std::move(location), environment)));
}

GcsStore::GcsStore(std::unique_ptr<GcsSession> session) : session_(std::move(session)) {}
GcsStore::~GcsStore() = default;

Result<std::string> GcsStore::object_of(std::string_view key) const {
  TRY_VOID(check_key(key));
  std::string object = session_->location().prefix + std::string(key);
  if (object.size() > kObjectNameMaxBytes) {
    return fail(ErrorCode::invalid_argument, "the key is too long for GCS with the store's prefix: " + object);
  }
  return object;
}

Result<std::string> GcsStore::get(std::string_view key) {
  return read_whole_object(*this, key);
}

Result<std::string> GcsStore::get_range(std::string_view key, uint64_t offset, uint64_t length) {
  return read_whole_range(*this, key, offset, length);
}

Result<> GcsStore::read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience) {
  TRY(const std::string object, object_of(key));
  TRY(const bool anything, range_has_bytes(*this, key, range));
  if (!anything) return {};
  auto done = session_->read(object, range, sink, patience);
  if (!done && done.error().code == ErrorCode::not_found) TRY_VOID(check_bucket());
  if (done) bucket_seen_ = true;
  return done;
}

Result<Created> GcsStore::create(std::string_view key, std::string_view bytes) {
  TRY(std::string object, object_of(key));
  auto created = GcsUpload(*session_, std::move(object), {.bytes = bytes}).run();
  if (!created && created.error().code == ErrorCode::not_found) TRY_VOID(check_bucket());
  return created;
}

Result<Created> GcsStore::create_from_file(std::string_view key, const std::filesystem::path& path) {
  TRY(std::string object, object_of(key));
  TRY(const UniqueFd file, open_file(path, O_RDONLY));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat " + path.string(), errno);
  const HttpBody body{.fd = file.get(), .length = static_cast<uint64_t>(info.st_size)};
  auto created = GcsUpload(*session_, std::move(object), body).run();
  if (!created && created.error().code == ErrorCode::not_found) TRY_VOID(check_bucket());
  return created;
}

/// A 404 does not say whether the object or the bucket is missing: asked once.
Result<> GcsStore::check_bucket() {
  if (bucket_seen_) return {};
  const NameValues query = {{"maxResults", "1"}, {"fields", "nextPageToken"}};
  TRY(const RemoteAnswer answer, session_->call({.url = session_->url_of("", query)}, {}));
  if (answer.reply.status == 404) {
    return fail(ErrorCode::unavailable, "gs://" + session_->location().bucket + " at " + session_->location().endpoint +
                                            ": the bucket does not exist: create it, or correct --store");
  }
  bucket_seen_ = true;
  return {};
}

Result<std::optional<uint64_t>> GcsStore::size(std::string_view key) {
  TRY(const std::string name, object_of(key));
  TRY(const RemoteAnswer answer, session_->call({.url = session_->url_of(name, {{"fields", "size"}})}, {}));
  if (answer.reply.status == 404) {
    TRY_VOID(check_bucket());
    return std::optional<uint64_t>();
  }
  if (!answer.reply.ok()) return session_->failed("look up " + name, answer.reply);
  bucket_seen_ = true;
  TRY(const GcsObject object, parse_gcs_object(answer.reply.body));
  return std::optional<uint64_t>(object.bytes);
}

Result<> GcsStore::each_page(std::string_view prefix, Folding folding,
                             const std::function<void(GcsListing&)>& on_page) {
  TRY_VOID(check_prefix(prefix));
  std::string next;
  do {
    NameValues query = {{"prefix", session_->location().prefix + std::string(prefix)},
                        {"fields", "items(name,size),prefixes,nextPageToken"}};
    if (folding == Folding::at_slash) query.emplace_back("delimiter", "/");
    if (!next.empty()) query.emplace_back("pageToken", next);
    TRY(const RemoteAnswer answer, session_->call({.url = session_->url_of("", query)}, {}));
    if (answer.reply.status == 404) TRY_VOID(check_bucket());
    if (!answer.reply.ok()) return session_->failed("list objects", answer.reply);
    TRY(GcsListing page, parse_gcs_listing(answer.reply.body));
    on_page(page);
    next = std::move(page.next_token);
  } while (!next.empty());
  bucket_seen_ = true;
  return {};
}

Result<std::vector<ObjectInfo>> GcsStore::list_objects(std::string_view prefix) {
  const size_t own = session_->location().prefix.size();
  std::vector<ObjectInfo> objects;
  TRY_VOID(each_page(prefix, Folding::none, [own, &objects](GcsListing& page) {
    for (ObjectInfo& object : page.objects) {
      object.key.erase(0, own);
      if (check_key(object.key)) objects.push_back(std::move(object));  // others were not made by Hearth
    }
  }));
  std::ranges::sort(objects, {}, &ObjectInfo::key);
  return objects;
}

Result<std::vector<std::string>> GcsStore::list(std::string_view prefix) {
  TRY(std::vector<ObjectInfo> objects, list_objects(prefix));
  return keys_of(std::move(objects));
}

Result<std::vector<std::string>> GcsStore::folders(std::string_view folder) {
  const size_t before = session_->location().prefix.size() + folder.size();
  std::vector<std::string> names;
  TRY_VOID(each_page(folder, Folding::at_slash, [before, &names](const GcsListing& page) {
    for (const std::string& prefix : page.prefixes) names.push_back(folder_name(prefix, before));
  }));
  std::ranges::sort(names);
  return names;
}

Result<> GcsStore::remove(std::string_view key) {
  TRY(const std::string name, object_of(key));
  TRY(const RemoteAnswer answer, session_->call({.method = "DELETE", .url = session_->url_of(name, {})}, {}));
  if (answer.reply.ok()) return {};
  if (answer.reply.status == 404) return check_bucket();
  return session_->failed("remove " + name, answer.reply);
}

}  // namespace hearth::blob
