"""A real supervisor process with real sockets, and a small wire client: what the tests drive."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

RUNNER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, RUNNER)

from hearth_runner import wire  # noqa: E402

TIMEOUT_S = 30


class Client:
    """The node's end of one connection."""

    def __init__(self, path, greet=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(path)
        self._decoder = wire.Decoder()
        self._frames = []
        self._ready = []  # results read while something else was waited for
        self.events = []
        self.credits = []
        self.hello = None
        self._next_id = 1000
        if greet:
            self.send(wire.json_frame(wire.HELLO, {"versions": [1, 1], "role": "node", "id": "test"}))
            self.read_until(lambda: self.hello)

    def send(self, data):
        self.socket.sendall(data)

    def read_until(self, condition):
        """Reads frames until the condition holds; returns its value."""
        while True:
            found = condition()
            if found:
                return found
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError("the runner closed the connection")
            for kind, count, seq, data, start, end in self._decoder.feed(data):
                if kind == wire.HELLO:
                    self.hello = wire.read_json(data, start, end)
                elif kind == wire.EVENT:
                    self.events.append(wire.read_json(data, start, end))
                elif kind == wire.RESULTS:
                    self._ready += wire.read_results(count, seq, data, start, end)
                elif kind == wire.CREDITS:
                    self.credits += wire.read_credits(count, data, start, end)
                self._frames.append((kind, seq))

    def ask(self, *payloads, deadline_ms=0, ack=0):
        """Sends one frame of requests; returns their ids."""
        ids = list(range(self._next_id, self._next_id + len(payloads)))
        self._next_id += len(payloads)
        self.send(wire.requests_frame([(i, 0, p if isinstance(p, bytes) else p.encode(), deadline_ms, wire.INFERENCE)
                                       for i, p in zip(ids, payloads)], ack))
        return ids

    def results(self, ids):
        """Results in the order of `ids`, each with "json" besides its fields."""
        def all_there():
            have = {r["id"]: r for r in self._ready}
            return [have[i] for i in ids] if all(i in have for i in ids) else None

        found = self.read_until(all_there)
        self._ready = [r for r in self._ready if r["id"] not in ids]
        for result in found:
            result["json"] = json.loads(result["value"].decode("utf-8"))
        return found

    def call(self, *payloads, **options):
        return self.results(self.ask(*payloads, **options))

    def value(self, payload):
        result = self.call(payload)[0]
        assert result["status"] == wire.OK, result
        return result["json"]

    def method(self, name, **parameters):
        """A call to the supervisor."""
        self._next_id += 1
        body = json.dumps({"method": name, "params": parameters}).encode()
        self.send(wire.requests_frame([(self._next_id, 0, body, 0, wire.CALL)]))
        return self.results([self._next_id])[0]

    def event(self, name, **fields):
        """Waits for an event and takes it."""
        def found():
            return [e for e in self.events if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]

        event = self.read_until(found)[0]
        self.events.remove(event)
        return event

    def frame_seen(self, kind):
        return self.read_until(lambda: [f for f in self._frames if f[0] == kind])

    def close(self):
        self.socket.close()


class Replica:
    """`with Replica("def predict(x): return x") as replica: replica.worker().value("1")`. `code` is the text of model.py,
    or the path of a model's folder."""

    def __init__(self, code, python=(), environment=None, **config):
        self.folder = tempfile.mkdtemp(prefix="hearth-runner-")
        model = os.path.join(self.folder, "model")
        if isinstance(code, os.PathLike):
            shutil.copytree(code, model)
        else:
            os.mkdir(model)
            with open(os.path.join(model, "model.py"), "w") as file:
                file.write(textwrap.dedent(code))
        self._clients = []
        slots = config.setdefault("slots", 1)
        config.setdefault("handler", "model:predict")
        listeners = {3 + i: self._listen(name)
                     for i, name in enumerate(["control.sock"] + ["worker-%d.sock" % i for i in range(slots)])}
        config.update({"code": model, "control_fd": 3,
                       "worker_fds": list(range(4, 4 + slots))})
        variables = dict(os.environ, HEARTH_RUNNER=json.dumps(config), PYTHONDONTWRITEBYTECODE="1")
        variables.update(environment or {})
        self.log = open(os.path.join(self.folder, "log"), "w+")
        # The shell's numbers 3.. have to be exactly the listeners: a small launcher places them.
        launcher = ("import os,sys\n"
                    "high=[int(f) for f in sys.argv[1].split(',')]\n"
                    "[os.dup2(f,3+i) for i,f in enumerate(high)]\n"
                    "os.closerange(3+len(high),256)\n"
                    "os.execv(sys.argv[2],sys.argv[2:])\n")
        fds = [s.fileno() for s in listeners.values()]
        high = [_above(fd, 100 + i) for i, fd in enumerate(fds)]
        command = list(python) or [sys.executable]
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", launcher, ",".join(map(str, high))] + command
            + [os.path.join(RUNNER, "main.py")],
            pass_fds=high, env=variables, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for fd in high:
            os.close(fd)
        for listener in listeners.values():
            listener.close()

    def _listen(self, name):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.folder, name))
        listener.listen(16)
        return listener

    def worker(self, index=0, ready=True):
        client = Client(os.path.join(self.folder, "worker-%d.sock" % index))
        self._clients.append(client)
        if ready and client.hello["state"] != "ready":
            client.event("state", state="ready")
        return client

    def supervisor(self):
        client = Client(os.path.join(self.folder, "control.sock"))
        self._clients.append(client)
        return client

    def log_text(self):
        self.log.flush()
        with open(os.path.join(self.folder, "log")) as file:
            return file.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _above(fd, lowest):
    import fcntl

    copy = fcntl.fcntl(fd, fcntl.F_DUPFD, lowest)
    os.set_inheritable(copy, True)
    return copy


def until(condition, seconds=TIMEOUT_S):
    """Waits until the condition holds; fails loudly when it never does."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("did not happen within %s s" % seconds)
