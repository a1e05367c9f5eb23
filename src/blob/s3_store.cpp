#include "blob/s3_store.hpp"

#include "base/file.hpp"
#include "blob/remote_range.hpp"
#include "blob/s3_session.hpp"
#include "blob/s3_upload.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

namespace hearth::blob {

namespace {

constexpr size_t kObjectNameMaxBytes = 1024;  // of S3, the prefix included

}  // namespace

Result<std::shared_ptr<S3Store>> S3Store::open(std::string_view url, const StoreEnvironment& environment) {
  TRY(auto location, S3Location::of(url, environment));
  return std::shared_ptr<S3Store>(new S3Store(std::make_unique<S3Session>(std::move(location), environment)));
}

S3Store::S3Store(std::unique_ptr<S3Session> session) : session_(std::move(session)) {}
S3Store::~S3Store() = default;

Result<std::string> S3Store::object_of(std::string_view key) const {
  TRY_VOID(check_key(key));
  std::string object = session_->location().prefix + std::string(key);
  if (object.size() > kObjectNameMaxBytes) {
    return fail(ErrorCode::invalid_argument, "the key is too long for S3 with the store's prefix: " + object);
  }
  return object;
}

Result<std::string> S3Store::get(std::string_view key) {
  return read_whole_object(*this, key);
}

Result<std::string> S3Store::get_range(std::string_view key, uint64_t offset, uint64_t length) {
  return read_whole_range(*this, key, offset, length);
}

Result<> S3Store::read(std::string_view key, ByteRange range, const ByteSink& sink, const Patience& patience) {
  TRY(const std::string object, object_of(key));
  TRY(const bool anything, range_has_bytes(*this, key, range));
  if (!anything) return {};
  auto done = session_->read(object, range, sink, patience);
  if (done) bucket_seen_ = true;
  return done;
}

Result<Created> S3Store::create(std::string_view key, std::string_view bytes) {
  TRY(std::string object, object_of(key));
  return S3Upload(*session_, std::move(object), {.bytes = bytes}).run();
}

Result<Created> S3Store::create_from_file(std::string_view key, const std::filesystem::path& path) {
  TRY(std::string object, object_of(key));
  TRY(const UniqueFd file, open_file(path, O_RDONLY));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat " + path.string(), errno);
  const HttpBody body{.fd = file.get(), .length = static_cast<uint64_t>(info.st_size)};
  return S3Upload(*session_, std::move(object), body).run();
}

/// A HEAD that finds nothing does not say whether the object or the bucket is missing: asked once.
Result<> S3Store::check_bucket() {
  if (bucket_seen_) return {};
  TRY(const RemoteAnswer answer,
      session_->call({.query = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", session_->location().prefix}}}, {}));
  if (answer.reply.status == 404) return session_->failed("look up an object", answer.reply);
  bucket_seen_ = true;
  return {};
}

Result<std::optional<uint64_t>> S3Store::size(std::string_view key) {
  TRY(const std::string object, object_of(key));
  TRY(const RemoteAnswer answer, session_->call({.method = "HEAD", .object = object}, {}));
  if (answer.reply.status == 404) {
    TRY_VOID(check_bucket());
    return std::optional<uint64_t>();
  }
  if (!answer.reply.ok()) return session_->failed("look up " + object, answer.reply);
  bucket_seen_ = true;
  const std::string_view text = answer.reply.header("content-length");
  uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::corrupt, "the store does not say how long " + object + " is");
  }
  return std::optional<uint64_t>(bytes);
}

Result<> S3Store::each_page(std::string_view prefix, Folding folding, const std::function<void(S3Listing&)>& on_page) {
  TRY_VOID(check_prefix(prefix));
  std::string next;
  do {
    S3Request request{.query = {{"list-type", "2"}, {"prefix", session_->location().prefix + std::string(prefix)}}};
    if (folding == Folding::at_slash) request.query.emplace_back("delimiter", "/");
    if (!next.empty()) request.query.emplace_back("continuation-token", next);
    TRY(const RemoteAnswer answer, session_->call(request, {}));
    if (!answer.reply.ok()) return session_->failed("list objects", answer.reply);
    TRY(S3Listing page, parse_s3_listing(answer.reply.body));
    on_page(page);
    next = std::move(page.next_token);
  } while (!next.empty());
  bucket_seen_ = true;
  return {};
}

Result<std::vector<ObjectInfo>> S3Store::list_objects(std::string_view prefix) {
  const size_t own = session_->location().prefix.size();
  std::vector<ObjectInfo> objects;
  TRY_VOID(each_page(prefix, Folding::none, [own, &objects](S3Listing& page) {
    for (ObjectInfo& object : page.objects) {
      object.key.erase(0, own);
      if (check_key(object.key)) objects.push_back(std::move(object));  // others were not made by Hearth
    }
  }));
  std::ranges::sort(objects, {}, &ObjectInfo::key);
  return objects;
}

Result<std::vector<std::string>> S3Store::list(std::string_view prefix) {
  TRY(std::vector<ObjectInfo> objects, list_objects(prefix));
  return keys_of(std::move(objects));
}

Result<std::vector<std::string>> S3Store::folders(std::string_view folder) {
  const size_t before = session_->location().prefix.size() + folder.size();
  std::vector<std::string> names;
  TRY_VOID(each_page(folder, Folding::at_slash, [before, &names](const S3Listing& page) {
    for (const std::string& prefix : page.prefixes) names.push_back(folder_name(prefix, before));
  }));
  std::ranges::sort(names);
  return names;
}

Result<> S3Store::remove(std::string_view key) {
  TRY(const std::string object, object_of(key));
  TRY(const RemoteAnswer answer, session_->call({.method = "DELETE", .object = object}, {}));
  const bool absent = answer.reply.status == 404 && parse_s3_error(answer.reply.body).code != "NoSuchBucket";
  if (answer.reply.ok() || absent) return {};
  return session_->failed("remove " + object, answer.reply);
}

}  // namespace hearth::blob
