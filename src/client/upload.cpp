#include "client/upload.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

namespace hearth::client {

namespace {

constexpr size_t kConnections = 4;
constexpr size_t kDigestsPerQuestion = 1000;

struct Part {
  std::filesystem::path file;
  uint64_t offset = 0;
  uint64_t size = 0;
  Digest digest;
};

std::vector<Part> distinct_parts(const std::filesystem::path& root, const std::vector<FolderEntry>& entries) {
  std::vector<Part> parts;
  std::unordered_set<Digest> seen;
  for (const FolderEntry& entry : entries) {
    for (size_t i = 0; i < entry.parts.size(); ++i) {
      if (!seen.insert(entry.parts[i]).second) continue;
      const uint64_t offset = i * kPartBytesMax;
      parts.push_back({root / entry.path, offset, std::min(kPartBytesMax, entry.size - offset), entry.parts[i]});
    }
  }
  return parts;
}

Result<std::unordered_set<std::string>> ask_missing(ApiClient& api, const std::vector<Part>& parts,
                                                    const std::string& session) {
  std::unordered_set<std::string> missing;
  for (size_t begin = 0; begin < parts.size(); begin += kDigestsPerQuestion) {
    auto digests = nlohmann::json::array();
    for (size_t i = begin; i < std::min(parts.size(), begin + kDigestsPerQuestion); ++i) {
      digests.push_back(parts[i].digest.hex());
    }
    nlohmann::json question = {{"digests", digests}};
    if (!session.empty()) question["session"] = session;
    TRY(auto body, api.post("/api/v1/uploads/missing", question.dump()));
    const auto answer = nlohmann::json::parse(body, nullptr, false);
    if (!answer.is_object() || !answer.contains("missing") || !answer["missing"].is_array()) {
      return fail(ErrorCode::corrupt, api.endpoint().url + " did not say which parts are missing");
    }
    for (const auto& digest : answer["missing"]) {
      if (digest.is_string()) missing.insert(digest.get<std::string>());
    }
  }
  return missing;
}

Result<std::string> read_part(const Part& part) {
  TRY(auto fd, open_file(part.file, O_RDONLY));
  std::string bytes(part.size, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(part.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + part.file.string(), errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  if (Digest::of(bytes) != part.digest) {
    return fail(ErrorCode::invalid_argument, part.file.string() + " changed while it was being deployed; deploy again");
  }
  return bytes;
}

/// What the upload threads share.
struct Queue {
  const std::vector<Part>* parts;
  std::string query;  // after each part's path
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> bytes_done = 0;
  std::atomic<size_t> running = 0;
  std::mutex mutex;
  std::optional<Error> error;  // the first one; guarded by mutex

  void stop_with(Error first) {
    const std::lock_guard lock(mutex);
    if (!error) error = std::move(first);
    next = parts->size();
  }
};

void send_parts(const Endpoint& endpoint, Queue& queue) {
  ApiClient api(endpoint);
  for (size_t i = queue.next++; i < queue.parts->size(); i = queue.next++) {
    const Part& part = (*queue.parts)[i];
    auto bytes = read_part(part);
    if (!bytes) return queue.stop_with(std::move(bytes).error());
    auto sent = api.put("/api/v1/uploads/" + part.digest.hex() + queue.query, *bytes, "application/octet-stream");
    if (!sent) return queue.stop_with(std::move(sent).error());
    queue.bytes_done += part.size;
  }
}

}  // namespace

Result<std::string> begin_upload(ApiClient& api) {
  const auto begun = api.post("/api/v1/uploads", "{}");
  if (!begun && begun.error().code == ErrorCode::not_found) return std::string();
  if (!begun) return Unexpected(begun.error());
  const auto answer = nlohmann::json::parse(*begun, nullptr, false);
  if (answer.is_object() && answer.contains("session") && answer["session"].is_string()) {
    return answer["session"].get<std::string>();
  }
  return fail(ErrorCode::corrupt, api.endpoint().url + " did not begin an upload");
}

Result<> upload_missing(const Endpoint& endpoint, const std::filesystem::path& root,
                        const std::vector<FolderEntry>& entries, const std::string& session, Progress& progress) {
  std::vector<Part> parts = distinct_parts(root, entries);
  ApiClient api(endpoint);
  TRY(auto missing, ask_missing(api, parts, session));
  std::erase_if(parts, [&missing](const Part& part) { return !missing.contains(part.digest.hex()); });
  uint64_t total = 0;
  for (const Part& part : parts) total += part.size;
  progress.phase("upload", total, "B");
  if (parts.empty()) progress.message("the server has everything already");

  Queue queue{.parts = &parts, .query = session.empty() ? "" : "?session=" + url_escape(session)};
  const size_t threads = std::min(kConnections, parts.size());
  queue.running = threads;
  {
    std::vector<std::jthread> senders;
    senders.reserve(threads);
    for (size_t i = 0; i < threads; ++i) {
      senders.emplace_back([&endpoint, &queue] {
        send_parts(endpoint, queue);
        --queue.running;
      });
    }
    while (queue.running > 0) {
      progress.advance_to(queue.bytes_done);
      std::this_thread::sleep_for(milliseconds(20));
    }
  }
  progress.advance_to(queue.bytes_done);
  if (queue.error) return Unexpected(*queue.error);
  progress.finish();
  return {};
}

}  // namespace hearth::client
