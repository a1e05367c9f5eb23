// hearth up: all of Hearth on this machine, supervised, in the foreground or detached.
#include "app/default_data_dir.hpp"
#include "app/imagefs_options.hpp"
#include "app/role_settings.hpp"
#include "app/subcommand.hpp"
#include "base/clock.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "supervisor/machine.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>

namespace hearth::app {

namespace {

using supervisor::Announcement;
using supervisor::Layout;

constexpr Duration kOtherSupervisorTime = seconds(180);  // to start, or to stop everything

struct UpOptions {
  supervisor::MachineOptions machine;
  mount::Config imagefs;  // what of it can be chosen
  bool detach = false;
  bool json = false;
};

void show(const UpOptions& options, const Announcement& announcement) {
  if (options.json) {
    std::printf("%s\n", announcement.json().c_str());
  } else {
    std::printf("Hearth serves at %s\n", announcement.url.c_str());
    std::printf("  key       %s\n", announcement.key.empty() ? "(the context file is gone)" : announcement.key.c_str());
    std::printf("  data dir  %s\n", announcement.data_dir.c_str());
    std::printf("  stop      %s\n", options.detach ? "hearth down" : "Ctrl-C, or hearth down");
  }
  std::fflush(stdout);
}

void show_progress(const std::string& text) {
  std::fprintf(stderr, "hearth: %s\n", text.c_str());
}

/// The detached supervisor tells the waiting `hearth up` over a pipe: one JSON object a line.
void tell(int pipe, const nlohmann::json& message) {
  (void)write_all(pipe, message.dump() + "\n", "progress");
}

[[noreturn]] void run_detached(const UpOptions& options, const Layout& layout, int pipe) {
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);  // whoever started us may have left
  if (const auto null = open_file("/dev/null", O_RDWR)) {
    ::dup2(null->get(), STDIN_FILENO);
    ::dup2(null->get(), STDOUT_FILENO);
  }
  if (const auto log = open_file(layout.log("supervisor"), O_WRONLY | O_CREAT | O_APPEND, 0640)) {
    ::dup2(log->get(), STDERR_FILENO);
  }
  (void)::chdir("/");
  bool telling = true;
  const auto progress = [pipe, &telling](const std::string& text) {
    if (telling) tell(pipe, {{"progress", text}});
  };
  const auto ready = [pipe, &telling](const Announcement& announcement) {
    tell(pipe, {{"ready", announcement.json()}, {"key", announcement.key}, {"url", announcement.url}});
    telling = false;
    ::close(pipe);
  };
  const auto served = run_machine(options.machine, {progress, ready});
  if (!served) {
    log_error("cannot serve", {{"error", served.error().message}});
    if (telling) tell(pipe, {{"error", served.error().message}});
  }
  std::_Exit(served ? kDone : kFailed);
}

/// Reads what the detached supervisor tells until it serves or gives up.
int follow(const UpOptions& options, int pipe) {
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> stream(::fdopen(pipe, "r"), &std::fclose);
  char* line = nullptr;
  size_t capacity = 0;
  int status = kFailed;
  bool told = false;
  while (::getline(&line, &capacity, stream.get()) > 0) {
    const auto message = nlohmann::json::parse(line, nullptr, false);
    if (!message.is_object()) continue;
    if (message.contains("progress")) show_progress(message.value("progress", ""));
    if (message.contains("error")) {
      told = true;
      report({ErrorCode::unavailable, message.value("error", "")});
    }
    if (message.contains("ready")) {
      const auto ready = nlohmann::json::parse(message.value("ready", ""));
      show(options, {ready.at("url"), message.value("key", ""), ready.at("data_dir"), ready.at("pid")});
      told = true;
      status = kDone;
    }
  }
  std::free(line);
  if (!told) report({ErrorCode::unavailable, "the supervisor ended before it was ready; see its log in DATA/logs"});
  return status;
}

int start_detached(const UpOptions& options, const Layout& layout) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return report({ErrorCode::internal, "cannot make a pipe"});
  const pid_t child = ::fork();
  if (child < 0) return report({ErrorCode::internal, "cannot fork"});
  if (child == 0) {
    ::close(ends[0]);
    ::setsid();
    if (::fork() != 0) std::_Exit(kDone);
    run_detached(options, layout, ends[1]);
  }
  ::close(ends[1]);
  ::waitpid(child, nullptr, 0);
  return follow(options, ends[0]);
}

int run_in_foreground(const UpOptions& options) {
  log_configure("supervisor", LogLevel::warning);
  const auto ready = [&options](const Announcement& announcement) { show(options, announcement); };
  const auto served = run_machine(options.machine, {show_progress, ready});
  return served ? kDone : report(served.error());
}

int show_running(const UpOptions& options, const Announcement& running) {
  show_progress("already running, supervised by process " + std::to_string(running.pid) + "; nothing to do");
  show(options, running);
  return kDone;
}

int up(UpOptions options) {
  log_configure("supervisor", LogLevel::info);
  ::umask(022);
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);  // what the shell left open is not for the roles
  if (auto checked = supervisor::check_machine(options.machine); !checked) {
    return checked.error().code == ErrorCode::invalid_argument ? (report(checked.error()), kWrongUse)
                                                               : report(checked.error());
  }
  const Layout layout = supervisor::locate(options.machine.data_dir);
  options.machine.data_dir = layout.data;  // absolute: a detached supervisor works elsewhere
  const Deadline deadline = Deadline::after(mono_now(), kOtherSupervisorTime);
  for (;;) {
    if (auto prepared = supervisor::prepare(layout, options.machine.users); !prepared) return report(prepared.error());
    const auto lock = supervisor::take_lock(layout);
    if (lock) return options.detach ? start_detached(options, layout) : run_in_foreground(options);
    if (lock.error().code != ErrorCode::already_exists || deadline.passed(mono_now())) return report(lock.error());
    if (const auto running = supervisor::announcement_of_running(layout)) return show_running(options, *running);
    std::this_thread::sleep_for(milliseconds(50));  // it starts or stops
  }
}

void add_up(CLI::App& parent) {
  auto options = std::make_shared<UpOptions>();
  CLI::App* command = parent.add_subcommand("up", "Run Hearth on this machine")->group(kServerCommands);
  options->machine.data_dir = default_data_dir();
  options->machine.listen = "127.0.0.1:8080";
  command->add_option("--data-dir", options->machine.data_dir, "Folder for everything kept")->capture_default_str();
  command->add_option("--listen", options->machine.listen, "HOST:PORT to serve; port 0 picks a free one")
      ->capture_default_str();
  command->add_option("--store", options->machine.store, "Object store: a folder or URL [DATA/store]");
  add_imagefs_options(*command, options->imagefs);
  command->add_option("--router-uid", options->machine.users.router, "User and group id of the router")
      ->capture_default_str();
  command->add_flag("--detach,-d", options->detach, "Return once it serves");
  command->add_flag("--json", options->json, "Print one JSON line when it serves");
  const RoleSettings settings(*command, "up");
  on_run(*command, [options, settings] {
    settings.apply();
    options->machine.image_backend = options->imagefs.backend;
    options->machine.imagefs_args = imagefs_arguments(options->imagefs);
    return up(*options);
  });
}

const Registration kRegistered("up", add_up);

}  // namespace

}  // namespace hearth::app
