"""Process 1 of a replica: imports what is shared, forks the workers, watches them, obeys the node. Never in the data path."""
import gc
import os
import select
import signal
import sys
import time
import warnings

from . import capture, config, connection, errors, shared_state, user_code, wire, worker

_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_CALM_S = 60.0  # a worker that lived this long begins anew with the back-off
_EXITS_KEPT = 16
_STOP_GRACE_S = 2.0


class _Slot:
    """What the supervisor knows of one worker."""

    def __init__(self, index, state):
        self.index = index
        self.state = state
        self.pid = 0
        self.last_pid = 0
        self.started = 0.0
        self.crashes = 0
        self.restart_at = None  # monotonic seconds
        self.restart_asked = False


class Supervisor:
    def __init__(self, settings):
        self._config = settings
        self._boot = os.urandom(8).hex()
        self._shared = shared_state.SharedState(settings.slots)
        self._slots = [_Slot(i, self._shared.worker(i)) for i in range(settings.slots)]
        self._capture = capture.Capture(settings.stdout_limit)
        self._listener = connection.listen_on(settings.control_fd)
        for fd in settings.worker_fds:
            os.set_inheritable(fd, False)  # not for programs the user's code starts
        self._connection = None
        self._kept = wire.KeptResults()
        self._exits = []
        self._kills = []  # (when, pid, slot, request)
        self._preloaded = {}
        self._model = None
        self._stopping = False
        self._life = os.pipe()  # its write end dies with this process: workers follow
        self._wakeup, wake = os.pipe()
        for fd in (self._wakeup, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, _frame):
        if number != signal.SIGCHLD:
            self._stopping = True

    def run(self):
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        sys.path[:] = [self._config.code] + [p for p in sys.path if p != here and p != ""]
        os.chdir(self._config.code)
        gc.disable()
        self._preloaded = user_code.preload(self._config.preload_imports)
        if self._config.preload:
            self._model = user_code.load(self._config, self._capture)
        user_code.freeze()
        gc.enable()
        for slot in self._slots:
            if self._fork(slot):
                return 0
        while not self._stopping:
            if self._step():
                return 0
        return self._stop()

    # --- workers ---

    def _fork(self, slot):
        """True in the worker, after it has ended."""
        slot.state.reset()
        slot.restart_at = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads of imported libraries
            pid = os.fork()
        if pid == 0:
            self._be_worker(slot)
            return True
        _make_group_leader(pid)
        slot.pid = slot.last_pid = pid
        slot.started = time.monotonic()
        self._event({"event": "worker_started", "index": slot.index, "pid": pid})
        return False

    def _be_worker(self, slot):
        code = 70
        try:
            _make_group_leader(0)
            _offer_to_oom_killer()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            os.close(self._life[1])
            if self._connection is not None:
                self._connection.close()
            self._listener.close()
            for index, fd in enumerate(self._config.worker_fds):
                if index != slot.index:
                    os.close(fd)
            self._capture.renew_files()
            worker.Worker(self._config, slot.index, slot.state, self._capture).run(self._model, self._life[0])
        except BaseException as error:
            errors.log("worker %d ends: %s" % (slot.index, errors.stack_of(error)))
        finally:
            os._exit(code)

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for slot in self._slots:
                if slot.pid == pid:
                    self._on_exit(slot, pid, status)

    def _on_exit(self, slot, pid, status):
        slot.pid = 0
        _kill_group(pid)
        event = {"event": "worker_exited", "index": slot.index, "pid": pid, "state": slot.state.state,
                 "running": slot.state.running_ids()}
        if os.WIFSIGNALED(status):
            event["signal"] = os.WTERMSIG(status)
        else:
            event["code"] = os.WEXITSTATUS(status)
        now = time.monotonic()
        if slot.restart_asked or slot.state.state in ("ready", "unready"):
            if slot.restart_asked or slot.state.served or now - slot.started > _CALM_S:
                slot.crashes = 0
            delay = _BACKOFF_S[min(slot.crashes, len(_BACKOFF_S) - 1)]
            slot.crashes += 1
            slot.restart_at = now + delay
            slot.restart_asked = False
            event["restart_ms"] = int(delay * 1000)
        self._exits = (self._exits + [event])[-_EXITS_KEPT:]
        self._event(event)

    def _stop(self):
        for slot in self._slots:
            _kill(slot.pid, signal.SIGTERM)
        until = time.monotonic() + _STOP_GRACE_S
        while any(slot.pid for slot in self._slots) and time.monotonic() < until:
            select.select([self._wakeup], [], [], 0.05)
            _drain(self._wakeup)
            self._reap_quietly()
        for slot in self._slots:
            _kill(slot.pid, signal.SIGKILL)
            _kill_group(slot.last_pid)
        return 0

    def _reap_quietly(self):
        for slot in self._slots:
            try:
                if slot.pid and os.waitpid(slot.pid, os.WNOHANG)[0]:
                    slot.pid = 0
            except ChildProcessError:
                slot.pid = 0

    # --- the loop ---

    def _step(self):
        """Waits for one round of events. True in a worker that was forked here."""
        link = self._connection
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        if link is not None:
            poll.register(link.fd, select.POLLIN | (select.POLLOUT if link.unsent else 0))
        for fd, events in poll.poll(self._timeout_ms()):
            if fd == self._wakeup:
                _drain(self._wakeup)
            elif link is not None and fd == link.fd:
                self._on_connection(link, events)
            else:
                self._accept()
        self._reap()
        now = time.monotonic()
        self._kill_overdue(now)
        for slot in self._slots:
            if slot.restart_at is not None and slot.restart_at <= now and self._fork(slot):
                return True
        return False

    def _timeout_ms(self):
        times = [kill[0] for kill in self._kills] + [s.restart_at for s in self._slots if s.restart_at is not None]
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    def _kill_overdue(self, now):
        for kill in [k for k in self._kills if k[0] <= now]:
            self._kills.remove(kill)
            _, pid, slot, request = kill
            if slot.pid == pid and slot.state.runs(request):
                errors.log("worker %d does not leave request %d: killing it" % (slot.index, request))
                _kill(pid, signal.SIGKILL)

    # --- the node ---

    def _accept(self):
        new = connection.accept(self._listener)
        if new is None:
            return
        if self._connection is not None:
            self._connection.close()
        self._connection = new
        new.send(wire.json_frame(wire.HELLO, {
            "versions": wire.VERSIONS, "role": "supervisor", "id": "supervisor", "boot": self._boot, "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3], "workers": self._workers(), "exits": self._exits,
            "preload": self._preloaded}))
        new.send(wire.credits_frame(64))

    def _workers(self):
        return [{"index": s.index, "pid": s.pid, "state": s.state.state if s.pid else "exited"} for s in self._slots]

    def _event(self, event):
        if self._connection is not None:
            self._connection.send(wire.json_frame(wire.EVENT, event))

    def _on_connection(self, link, events):
        if events & select.POLLOUT:
            link.flush()
        if events & ~select.POLLOUT:
            try:
                for frame in link.receive():
                    self._on_frame(link, frame)
            except wire.ProtocolError as error:
                errors.log("closing a connection: %s" % error)
                link.close()
        if not link.open and self._connection is link:
            self._connection = None

    def _on_frame(self, link, frame):
        kind, count, seq, data, start, end = frame
        if not link.greeted:
            if kind != wire.HELLO:
                raise wire.ProtocolError("the first frame is no HELLO")
            link.greet(wire.read_json(data, start, end))
        elif kind == wire.REQUESTS:
            self._kept.acknowledge(seq)
            for request in wire.read_requests(count, data, start, end):
                self._answer(request)
        elif kind == wire.ACK:
            self._kept.acknowledge(seq)
        elif kind == wire.ATTACH:
            for made in self._kept.after(seq):
                link.send(made)
            known = self._kept.ids()
            for rid in wire.read_ids(count, data, start, end):
                if rid not in known:
                    self._result(rid, wire.UNKNOWN, {"error": "the supervisor has never seen the request"})
        elif kind == wire.PING:
            link.send(wire.frame(wire.PONG, seq=seq))

    def _result(self, rid, status, value):
        text = errors.to_json(value)
        made = self._kept.keep([wire.RESULT.pack(rid, status, 0, 0, len(text), 0, 0, 0, 0, 0, 0)], [text])
        if self._connection is not None:
            self._connection.send(made)

    def _answer(self, request):
        rid, _, payload, _, kind = request
        try:
            if kind != wire.CALL:
                raise ValueError("a supervisor takes calls only")
            call = wire.read_json(payload, 0, len(payload))
            method, parameters = call.get("method"), call.get("params") or {}
            if method == "interrupt":
                answer = self._interrupt(parameters)
            elif method == "restart":
                answer = self._restart(self._slots[parameters["index"]])
            elif method == "status":
                answer = {"workers": self._workers(), "preload": self._preloaded}
            elif method == "stop":
                self._stopping = True
                answer = {}
            else:
                raise ValueError("the supervisor has no method %r" % (method,))
        except (wire.ProtocolError, ValueError, KeyError, IndexError, TypeError) as error:
            self._result(rid, wire.MALFORMED, {"error": errors.one_line(error)})
            return
        self._result(rid, wire.OK, answer)

    def _interrupt(self, parameters):
        slot = self._slots[parameters["index"]]
        request = parameters["request"]
        kill_after_ms = parameters.get("kill_after_ms", 0)
        if not slot.pid or not slot.state.runs(request):
            return {"interrupted": False}
        slot.state.set_target(request)
        _kill(slot.pid, signal.SIGUSR1)
        if kill_after_ms:
            self._kills.append((time.monotonic() + kill_after_ms / 1000, slot.pid, slot, request))
        return {"interrupted": True}

    def _restart(self, slot):
        slot.crashes = 0
        if slot.pid:
            slot.restart_asked = True
            _kill(slot.pid, signal.SIGKILL)
        else:
            slot.restart_at = time.monotonic()
        return {}


def _make_group_leader(pid):
    """A worker and what it starts form a group, so that nothing of it outlives it. Called on both sides of the fork."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass


def _kill_group(leader):
    if leader:
        try:
            os.killpg(leader, signal.SIGKILL)
        except OSError:
            pass


def _offer_to_oom_killer():
    """When memory runs out a worker goes, not the supervisor, who tells how it went and forks another."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass


def _kill(pid, number):
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _drain(fd):
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def main():
    errors.keep_stderr_for_log()
    try:
        settings = config.from_environment()
    except (ValueError, KeyError, TypeError) as error:
        errors.log("%s" % errors.one_line(error))
        return 2
    return Supervisor(settings).run()
