#include "blob/http_client.hpp"

#include "base/trimmed.hpp"

#include <curl/curl.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

namespace hearth::blob {

namespace {

constexpr size_t kIdleMax = 64;            // connections kept
constexpr long kBufferBytes = 256 * 1024;  // what the sink gets at a time, at most
constexpr size_t kHeadersMaxBytes = 64 * 1024;
constexpr uint64_t kPutAwayBytesPerSecond = uint64_t{1} << 20;
constexpr Duration kLongestPoll = seconds(1);

struct FreeEasy {
  void operator()(CURL* raw) const { curl_easy_cleanup(raw); }
};
struct FreeMulti {
  void operator()(CURLM* raw) const { curl_multi_cleanup(raw); }
};
struct FreeShare {
  void operator()(CURLSH* raw) const { curl_share_cleanup(raw); }
};
struct FreeHeaders {
  void operator()(curl_slist* raw) const { curl_slist_free_all(raw); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

void initialise_once() {
  static const CURLcode kDone = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK_PROMISE(kDone == CURLE_OK);
}

void add_header(Headers& headers, const std::string& line) {
  curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
  CHECK_PROMISE(longer != nullptr);
  (void)headers.release();
  headers.reset(longer);
}

/// A write to a connection that the peer closed raises SIGPIPE in OpenSSL; libcurl was told to leave signals alone.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec now{};
    while (!was_pending_ && ::sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace

std::string_view HttpReply::header(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, [](const auto& pair) { return std::string_view(pair.first); });
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::string host_of(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find_first_of("/?#")));
}

namespace {

/// One exchange under way: what the callbacks of libcurl see.
struct Transfer {
  const HttpRequest* request;
  CURL* curl;
  HttpReply reply;
  Result<> answer;    // of on_headers, the sink, or our own limits: ends the transfer
  MonoTime moved;     // when a byte last went either way
  uint64_t sent = 0;  // of the request's body
  size_t header_bytes = 0;
  bool body_begun = false;

  bool begin_body() {
    body_begun = true;
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    reply.status = static_cast<int>(status);
    if (reply.ok() && request->on_headers) answer = request->on_headers(reply);
    return answer.has_value();
  }

  static size_t on_body(char* data, size_t size, size_t count, void* pointer) {
    auto& self = *static_cast<Transfer*>(pointer);
    const std::string_view bytes(data, size * count);
    self.moved = mono_now();
    if (!self.body_begun && !self.begin_body()) return CURL_WRITEFUNC_ERROR;
    if (self.reply.ok() && self.request->sink) {
      self.answer = self.request->sink(bytes);
    } else if (bytes.size() > self.request->reply_max_bytes - self.reply.body.size()) {
      self.answer = fail(ErrorCode::exhausted, "the answer of " + host_of(self.request->url) + " is over " +
                                                   std::to_string(self.request->reply_max_bytes) + " bytes");
    } else {
      self.reply.body.append(bytes);
    }
    // A sink may take long: that is no stall of the server's.
    self.moved = mono_now();
    return self.answer ? bytes.size() : CURL_WRITEFUNC_ERROR;
  }

  static size_t on_header(char* data, size_t size, size_t count, void* pointer) {
    auto& self = *static_cast<Transfer*>(pointer);
    std::string_view line(data, size * count);
    self.moved = mono_now();
    self.header_bytes += line.size();
    if (self.header_bytes > kHeadersMaxBytes) return 0;
    if (line.starts_with("HTTP/")) self.reply.headers.clear();  // those before were of a 100 Continue
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return size * count;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    self.reply.headers.emplace_back(std::move(name), trimmed(line.substr(colon + 1)));
    return size * count;
  }

  /// A part of the body from `sent` on: never across the edge of its frame.
  Result<size_t> copy_body(char* buffer, size_t room) const {
    const HttpBody& body = *request->body;
    if (sent < body.before.size()) return body.before.copy(buffer, room, sent);
    const uint64_t at = sent - body.before.size();
    if (at >= body.content_size()) return body.after.copy(buffer, room, at - body.content_size());
    if (body.fd < 0) return body.bytes.copy(buffer, room, at);
    const size_t wanted = std::min<uint64_t>(room, body.content_size() - at);
    const ssize_t got = ::pread(body.fd, buffer, wanted, static_cast<off_t>(body.offset + at));
    if (got < 0) return fail(ErrorCode::corrupt, fail_errno("read the file that is sent", errno).error().message);
    if (got == 0) return fail(ErrorCode::corrupt, "the file that is sent became shorter");
    return static_cast<size_t>(got);
  }

  static size_t on_send(char* buffer, size_t size, size_t count, void* pointer) {
    auto& self = *static_cast<Transfer*>(pointer);
    self.moved = mono_now();
    if (self.sent == self.request->body->size()) return 0;
    const auto copied = self.copy_body(buffer, size * count);
    if (!copied) {
      self.answer = Unexpected(copied.error());
      return CURL_READFUNC_ABORT;
    }
    self.sent += *copied;
    return *copied;
  }

  /// A connection that had been closed meanwhile is replaced, and the body sent again.
  static int on_seek(void* pointer, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_FAIL;
    static_cast<Transfer*>(pointer)->sent = static_cast<uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
  }
};

/// What makes one transfer: its connection stays in `multi` for the next one.
struct Handle {
  std::unique_ptr<CURLM, FreeMulti> multi{curl_multi_init()};
  std::unique_ptr<CURL, FreeEasy> easy{curl_easy_init()};
  std::array<char, CURL_ERROR_SIZE> error_text{};

  Handle() { CHECK_PROMISE(multi != nullptr && easy != nullptr); }
};

void set_body(CURL* curl, Transfer& transfer) {
  const HttpRequest& request = *transfer.request;
  if (request.body) {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, Transfer::on_send);
    curl_easy_setopt(curl, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, Transfer::on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
  } else if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  }
  if (request.method != "HEAD") curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void prepare(Handle& handle, Transfer& transfer, const Headers& headers, const HttpClientOptions& options) {
  CURL* curl = handle.easy.get();
  handle.error_text[0] = '\0';
  curl_easy_setopt(curl, CURLOPT_URL, transfer.request->url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle.error_text.data());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  // One request a connection: parallel ranges then have a congestion window each.
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::chrono::ceil<milliseconds>(options.connect_timeout).count()));
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "hearth");
  if (!options.ca_bundle.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options.ca_bundle.c_str());
  if (options.direct) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, Transfer::on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Transfer::on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  set_body(curl, transfer);
}

/// Until then libcurl's own limit holds.
bool is_connected(const Handle& handle) {
  curl_off_t when_us = 0;
  curl_easy_getinfo(handle.easy.get(), CURLINFO_PRETRANSFER_TIME_T, &when_us);
  return when_us > 0;
}

/// How long nothing may move. A server that has the whole body may need time to put it away.
Duration patience_with(const Handle& handle, const Transfer& transfer, const HttpClientOptions& options) {
  if (!is_connected(handle)) return options.stall_timeout + options.connect_timeout;
  const bool all_sent = transfer.request->body && transfer.sent == transfer.request->body->size();
  if (!all_sent) return options.stall_timeout;
  return options.stall_timeout + seconds(transfer.sent / kPutAwayBytesPerSecond);
}

/// Drives one transfer until it ends, or the caller's patience or the server's time does.
Result<CURLcode> drive(Handle& handle, Transfer& transfer, const HttpClientOptions& options) {
  CURLM* multi = handle.multi.get();
  const Patience& patience = transfer.request->patience;
  const std::string host = host_of(transfer.request->url);
  const std::stop_callback wake(patience.stop, [multi] { curl_multi_wakeup(multi); });
  for (;;) {
    // First: a caller who has given up before it began gets nothing, however fast the server is.
    if (patience.stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
    if (patience.deadline.passed(mono_now())) {
      return fail(ErrorCode::deadline_exceeded, host + " did not answer in the time there was");
    }
    int running = 0;
    if (curl_multi_perform(multi, &running) != CURLM_OK) return fail(ErrorCode::internal, "libcurl gave up");
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) return message->data.result;
    }
    const MonoTime now = mono_now();
    const Duration still = now - transfer.moved;
    const Duration limit = patience_with(handle, transfer, options);
    if (still >= limit) {
      return fail(ErrorCode::unavailable, host + " sends nothing any more");
    }
    const Duration wait = std::min({kLongestPoll, limit - still, patience.deadline.left(now).value_or(kLongestPoll)});
    curl_multi_poll(multi, nullptr, 0, static_cast<int>(std::chrono::ceil<milliseconds>(wait).count()), nullptr);
  }
}

}  // namespace

/// Idle handles, the most recently used on top: its connection is the least likely to have been closed. Names and TLS
/// sessions are shared by all, so that a new connection costs neither a look-up nor a full handshake.
struct HttpClient::Pool {
  explicit Pool(HttpClientOptions its_options) : options(std::move(its_options)) {
    initialise_once();
    share.reset(curl_share_init());
    CHECK_PROMISE(share != nullptr);
    curl_share_setopt(share.get(), CURLSHOPT_LOCKFUNC, lock);
    curl_share_setopt(share.get(), CURLSHOPT_UNLOCKFUNC, unlock);
    curl_share_setopt(share.get(), CURLSHOPT_USERDATA, this);
    curl_share_setopt(share.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(share.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  }

  static void lock(CURL* /*handle*/, curl_lock_data data, curl_lock_access /*access*/, void* pointer) {
    static_cast<Pool*>(pointer)->locks[static_cast<size_t>(data)].lock();
  }
  static void unlock(CURL* /*handle*/, curl_lock_data data, void* pointer) {
    static_cast<Pool*>(pointer)->locks[static_cast<size_t>(data)].unlock();
  }

  std::unique_ptr<Handle> take() {
    {
      const std::lock_guard guard(mutex);
      if (!idle.empty()) {
        auto handle = std::move(idle.back());
        idle.pop_back();
        return handle;
      }
    }
    return std::make_unique<Handle>();
  }

  void give_back(std::unique_ptr<Handle> handle) {
    curl_easy_reset(handle->easy.get());
    const std::lock_guard guard(mutex);
    if (idle.size() < kIdleMax) idle.push_back(std::move(handle));
  }

  HttpClientOptions options;
  std::array<std::mutex, CURL_LOCK_DATA_LAST> locks;
  std::unique_ptr<CURLSH, FreeShare> share;
  std::mutex mutex;
  std::vector<std::unique_ptr<Handle>> idle;  // before `share` in destruction: they use it
};

HttpClient::HttpClient(HttpClientOptions options) : pool_(std::make_unique<Pool>(std::move(options))) {}
HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::exchange(const HttpRequest& request) {
  if (request.patience.stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
  Headers headers;
  for (const std::string& line : request.headers) add_header(headers, line);
  add_header(headers, "Expect:");  // no extra round trip before a body
  const NoSigpipe no_sigpipe;
  auto handle = pool_->take();
  CURL* curl = handle->easy.get();
  Transfer transfer{.request = &request, .curl = curl, .reply = {}, .answer = {}, .moved = mono_now()};
  curl_easy_setopt(curl, CURLOPT_SHARE, pool_->share.get());
  prepare(*handle, transfer, headers, pool_->options);
  CHECK_PROMISE(curl_multi_add_handle(handle->multi.get(), curl) == CURLM_OK);
  const auto code = drive(*handle, transfer, pool_->options);
  if (code && *code == CURLE_OK && !transfer.body_begun) (void)transfer.begin_body();
  curl_multi_remove_handle(handle->multi.get(), curl);  // closes a connection whose exchange did not end
  const std::string text = handle->error_text[0] != '\0' ? handle->error_text.data() : "";
  pool_->give_back(std::move(handle));
  if (!code) return Unexpected(code.error());
  if (!transfer.answer) return Unexpected(std::move(transfer.answer).error());
  if (*code != CURLE_OK) {
    return fail(ErrorCode::unavailable,
                "cannot reach " + host_of(request.url) + ": " + (text.empty() ? curl_easy_strerror(*code) : text));
  }
  return std::move(transfer.reply);
}

}  // namespace hearth::blob
