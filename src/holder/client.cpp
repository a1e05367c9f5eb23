#include "holder/client.hpp"

#include "base/process.hpp"
#include "holder/message.hpp"

#include <algorithm>
#include <csignal>
#include <limits>
#include <mutex>
#include <optional>

namespace hearth::holder {

namespace {

constexpr seconds kAnswerTime(10);  // a healthy holder answers within a millisecond

struct Answer {
  Reply reply;
  std::vector<UniqueFd> fds;
};

/// The next reply to `id`; the holder's errors become ours.
Result<Answer> receive_reply(SeqpacketSocket& socket, uint32_t id, Deadline deadline) {
  for (;;) {
    TRY(auto message, socket.receive(deadline));
    TRY(auto reply, decode_reply(message.bytes));
    if (reply.id != id && reply.id != 0) continue;
    if (auto* error = std::get_if<Error>(&reply.body)) return Unexpected(std::move(*error));
    return Answer{std::move(reply), std::move(message.fds)};
  }
}

/// Who listens at the other end. A pid alone would be ambiguous once it is dead.
Child process_behind(const SeqpacketSocket& socket) {
  const auto peer = socket.peer();
  if (!peer) return {};
  return {peer->pid, process_start_time(peer->pid).value_or(0)};
}

Result<Child> child_of(const Reply& reply) {
  const Child* child = std::get_if<Child>(&reply.body);
  if (child == nullptr) return fail(ErrorCode::corrupt, "the holder answered spawn with something else");
  return *child;
}

Spawn message_of(const SpawnRequest& request, Watch watch) {
  Spawn spawn{.watch = watch,
              .args = request.args,
              .environment = request.environment,
              .directory = request.directory,
              .output = request.output,
              .targets = {}};
  for (const auto& [here, target] : request.fds) spawn.targets.push_back(static_cast<uint32_t>(target));
  return spawn;
}

std::vector<int> descriptors_of(const SpawnRequest& request) {
  std::vector<int> fds;
  fds.reserve(request.fds.size());
  for (const auto& [here, target] : request.fds) fds.push_back(here);
  return fds;
}

/// Waits for the end of a child that the connection watches.
Result<Exit> wait_for_end(SeqpacketSocket& socket, uint32_t id, Deadline deadline) {
  TRY(const auto answer, receive_reply(socket, id, deadline));
  const Exits* exits = std::get_if<Exits>(&answer.reply.body);
  if (exits == nullptr || exits->exits.empty()) return fail(ErrorCode::corrupt, "the holder told no end");
  return exits->exits.front();
}

}  // namespace

struct Client::State {
  std::filesystem::path path;
  std::mutex mutex;
  std::optional<SeqpacketSocket> socket;
  Child holder;  // that `socket` leads to
  uint32_t last_id = 0;

  enum class Repeat { always, if_not_sent };

  Result<Answer> ask(const decltype(Request::verb)& verb, const std::vector<int>& fds, Repeat repeat) {
    const std::scoped_lock lock(mutex);
    const bool fresh = !socket;
    bool sent = false;
    auto answer = ask_once(verb, fds, sent);
    // A connection kept from before may be to a holder that is gone: try the present one, once.
    if (answer || answer.error().code != ErrorCode::unavailable || fresh) return answer;
    if (sent && repeat == Repeat::if_not_sent) return answer;
    return ask_once(verb, fds, sent);
  }

 private:
  Result<Answer> ask_once(const decltype(Request::verb)& verb, const std::vector<int>& fds, bool& sent) {
    auto answer = [&]() -> Result<Answer> {
      if (!socket) {
        auto connected = SeqpacketSocket::connect(path);
        if (!connected) return fail(ErrorCode::unavailable, "no holder: " + connected.error().message);
        socket = std::move(*connected);
        holder = process_behind(*socket);
      }
      const uint32_t id = ++last_id;
      if (auto result = socket->send(encode(Request{id, verb}), fds); !result) {
        if (result.error().code == ErrorCode::invalid_argument) return Unexpected(result.error());
        // It has not arrived. A holder that refused us has said so before it closed.
        auto last_word = receive_reply(*socket, id, Deadline::after(mono_now(), Duration::zero()));
        if (!last_word && last_word.error().code == ErrorCode::denied) return last_word;
        return fail(ErrorCode::unavailable, "holder: " + result.error().message);
      }
      sent = true;
      auto received = receive_reply(*socket, id, Deadline::after(mono_now(), kAnswerTime));
      return received;
    }();
    // A late answer must not be taken for the next one's; ids guard that, a lost connection needs a new one.
    if (!answer && (answer.error().code == ErrorCode::unavailable ||
                    answer.error().code == ErrorCode::deadline_exceeded || answer.error().code == ErrorCode::denied)) {
      socket.reset();
    }
    return answer;
  }
};

Client::Client(std::filesystem::path socket) : state_(std::make_unique<State>()) {
  state_->path = std::move(socket);
}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<> Client::put(std::string_view name, int fd) {
  TRY_VOID(state_->ask(Put{std::string(name)}, {fd}, State::Repeat::always));
  return {};
}

Result<UniqueFd> Client::get(std::string_view name) {
  TRY(auto answer, state_->ask(Get{std::string(name)}, {}, State::Repeat::always));
  if (answer.fds.size() != 1) return fail(ErrorCode::corrupt, "the holder sent no descriptor");
  return std::move(answer.fds.front());
}

Result<std::vector<std::string>> Client::list(std::string_view prefix) {
  std::vector<std::string> names;
  List page{std::string(prefix), ""};
  do {
    TRY(auto answer, state_->ask(page, {}, State::Repeat::always));
    auto* got = std::get_if<Names>(&answer.reply.body);
    if (got == nullptr) return fail(ErrorCode::corrupt, "the holder answered list with something else");
    for (std::string& name : got->names) names.push_back(std::move(name));
    page.after = got->next;
  } while (!page.after.empty());
  return names;
}

Result<> Client::drop(std::string_view name) {
  TRY_VOID(state_->ask(Drop{std::string(name)}, {}, State::Repeat::always));
  return {};
}

Result<Child> Client::spawn(const SpawnRequest& request) {
  TRY(auto answer, state_->ask(message_of(request, Watch::no), descriptors_of(request), State::Repeat::if_not_sent));
  return child_of(answer.reply);
}

Result<Exit> Client::run(const SpawnRequest& request, Deadline deadline) {
  auto socket = SeqpacketSocket::connect(state_->path);
  if (!socket) return fail(ErrorCode::unavailable, "no holder: " + socket.error().message);
  constexpr uint32_t kId = 1;
  TRY_VOID(socket->send(encode(Request{kId, message_of(request, Watch::yes)}), descriptors_of(request)));
  TRY(const auto answer, receive_reply(*socket, kId, Deadline::after(mono_now(), kAnswerTime)));
  TRY(const Child child, child_of(answer.reply));
  auto exit = wait_for_end(*socket, kId, deadline);
  if (exit || exit.error().code != ErrorCode::deadline_exceeded) return exit;
  ::kill(-child.pid, SIGKILL);
  return fail(ErrorCode::deadline_exceeded, request.args[0] + " did not finish in time");
}

Result<std::vector<Exit>> Client::exits(uint64_t after) {
  TRY(auto answer, state_->ask(Exited{after, Follow::no}, {}, State::Repeat::always));
  auto* exits = std::get_if<Exits>(&answer.reply.body);
  if (exits == nullptr) return fail(ErrorCode::corrupt, "the holder answered exited with something else");
  return std::move(exits->exits);
}

Result<uint32_t> Client::relay(int group, const RelayOptions& options) {
  const auto timeout_ms = std::clamp<int64_t>(options.timeout.count(), 0, std::numeric_limits<uint32_t>::max());
  TRY(const auto answer, state_->ask(Relay{options.name, options.predecessor, static_cast<uint32_t>(timeout_ms)},
                                     {group}, State::Repeat::if_not_sent));
  const Relayed* relayed = std::get_if<Relayed>(&answer.reply.body);
  if (relayed == nullptr) return fail(ErrorCode::corrupt, "the holder answered relay with something else");
  return relayed->denied;
}

Result<> Client::track(const TrackedFile& file) {
  TRY_VOID(state_->ask(Track{file.name, file.token, file.header_bytes, file.page_bytes, file.observe},
                       {file.data_fd, file.presence_fd}, State::Repeat::always));
  return {};
}

Result<> Client::untrack(std::string_view name) {
  TRY_VOID(state_->ask(Untrack{std::string(name)}, {}, State::Repeat::always));
  return {};
}

Result<UniqueFd> Client::event_fd(uint64_t sequence) {
  TRY(auto answer, state_->ask(EventFd{sequence}, {}, State::Repeat::always));
  if (answer.fds.size() != 1) return fail(ErrorCode::corrupt, "the holder sent no descriptor");
  return std::move(answer.fds.front());
}

Result<std::map<std::string, uint64_t>> Client::counts() {
  TRY(auto answer, state_->ask(Counts{}, {}, State::Repeat::always));
  auto* counted = std::get_if<Counted>(&answer.reply.body);
  if (counted == nullptr) return fail(ErrorCode::corrupt, "the holder answered counts with something else");
  return std::map<std::string, uint64_t>(counted->values.begin(), counted->values.end());
}

Result<Child> Client::process() {
  TRY_VOID(exits(std::numeric_limits<uint64_t>::max()));  // something small that every holder answers
  const std::scoped_lock lock(state_->mutex);
  return state_->holder;
}

Result<ExitStream> ExitStream::open(const std::filesystem::path& socket, uint64_t after) {
  auto connected = SeqpacketSocket::connect(socket);
  if (!connected) return fail(ErrorCode::unavailable, "no holder: " + connected.error().message);
  TRY_VOID(connected->send(encode(Request{1, Exited{after, Follow::yes}})));
  return ExitStream(std::move(*connected));
}

Result<Exit> ExitStream::next(Deadline deadline) {
  while (received_.empty()) {
    TRY(const auto answer, receive_reply(socket_, 1, deadline));
    if (const Exits* exits = std::get_if<Exits>(&answer.reply.body)) {
      received_.assign(exits->exits.rbegin(), exits->exits.rend());
    }
  }
  const Exit exit = received_.back();
  received_.pop_back();
  return exit;
}

Result<EventStream> EventStream::open(const std::filesystem::path& socket) {
  auto connected = SeqpacketSocket::connect(socket);
  if (!connected) return fail(ErrorCode::unavailable, "no holder: " + connected.error().message);
  TRY_VOID(connected->send(encode(Request{1, Listen{}})));
  TRY_VOID(receive_reply(*connected, 1, Deadline::after(mono_now(), kAnswerTime)));
  return EventStream(std::move(*connected));
}

Result<std::vector<Event>> EventStream::next(Deadline deadline) {
  for (;;) {
    TRY_VOID(socket_.receive_into(message_, deadline));
    TRY(auto reply, decode_reply(message_.bytes));
    if (auto* error = std::get_if<Error>(&reply.body)) return Unexpected(std::move(*error));
    auto* events = std::get_if<Events>(&reply.body);
    if (events != nullptr && !events->events.empty()) return std::move(events->events);
  }
}

Result<> EventStream::answer(std::span<const EventAnswer> answers) {
  while (!answers.empty()) {
    const auto some = answers.first(std::min(answers.size(), kAnswersPerMessage));
    if (auto sent = socket_.send(encode(Request{0, Answers{{some.begin(), some.end()}}})); !sent) {
      return fail(ErrorCode::unavailable, "holder: " + sent.error().message);
    }
    answers = answers.subspan(some.size());
  }
  return {};
}

}  // namespace hearth::holder
