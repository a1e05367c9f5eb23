"""A worker: one process, one thread, one request (or one joint call) at a time.

The loop: wait for frames, take everything that has arrived, run for at most 200 µs (or one call; up to 1 ms behind a
long queue), send the results, look at the socket again. What arrives while a call runs waits in the socket.
"""
import array
import gc
import os
import select
import signal
import time
from collections import deque

from . import calls, capture, connection, convert, errors, user_code, wire

_SLICE_NS = 200_000  # results wait at most this long for company, …
_LONG_SLICE_NS = 1_000_000  # … or this long behind a queue, where a quarter more of the wait saves frames and wake-ups
_FLUSH_BYTES = 1 << 20
_KEPT_LIMIT_BYTES = 64 << 20  # unacknowledged results beyond this stop the credits
_READY_POLL_S = 1.0
_UNREADY_POLL_S = 0.1
_DRAIN_MS = 100
_MOST = 0xffffffff  # what 32 bits of a result entry can say

_DEADLINE_PASSED = errors.to_json({"error": "the deadline passed before the call began"})
_CANCELLED = errors.to_json({"error": "the caller cancelled the request"})


class Worker:
    def __init__(self, config, index, state, streams):
        self._config = config
        self._index = index
        self._state = state  # shared_state.WorkerState
        self._capture = streams
        self._boot = os.urandom(8).hex()
        self._listener = connection.listen_on(config.worker_fds[index])
        self._connection = None
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._kept = wire.KeptResults()
        self._hold_results = False  # until the new connection has asked for those it has not seen
        self._queue = deque()  # (id, payload, deadline ns, arrival ns, arguments or None)
        self._alone = set()  # ids that a failed joint call left to be called one by one
        self._done = []  # finished, not yet sent: (id, status, batch, value, stdout, stderr, run ns, wait ns)
        self._done_bytes = 0
        self._cpu_ns = 0  # spent since the last flush that had calls to charge it to
        self._watching_output = False
        self._model = None
        self._status = "loading"
        self._credits_sent = 0
        self._next_ready = 0.0
        self._rss_kib = 0
        self._rss_next = 0.0
        self._joint = config.mode != "row"
        self._call = None

    # --- life ---

    def run(self, model, life_fd):
        """Loads (unless `model` was loaded before the fork) and serves until the supervisor is gone."""
        self._poll.register(life_fd, select.POLLIN)
        self._life_fd = life_fd
        self._accept()
        self._model = model or user_code.load(self._config, self._capture)
        capture.unbuffer_c_streams()
        if self._model.error:
            self._set_state("failed")
        else:
            self._prepare()
        while True:
            self._wait(self._timeout_ms())
            if self._queue:
                self._work()
            if self._model.ready is not None and self._status != "failed":
                self._ask_ready()

    def _prepare(self):
        handler = self._model.handler
        self._call = calls.joint_caller(handler, self._config.mode) if self._joint else handler
        user_code.freeze()
        gc.set_threshold(10_000, 20, 20)
        signal.signal(signal.SIGUSR1, self._on_interrupt)
        self._ask_ready()

    def _ask_ready(self):
        now = time.monotonic()
        if now < self._next_ready:
            return
        ready = True
        if self._model.ready is not None:
            try:
                ready = bool(self._model.ready())
            except BaseException as error:
                ready = False
                self._model.error = errors.describe(error, "the ready hook raised")
        if ready:
            self._model.error = None
        self._next_ready = time.monotonic() + (_READY_POLL_S if ready else _UNREADY_POLL_S)
        self._set_state("ready" if ready else "unready")

    def _set_state(self, status):
        if status == self._status:
            return
        self._status = status
        self._state.set_state(status)
        self._send(wire.json_frame(wire.EVENT, self._model.state_event(status)))
        self._send_credits()

    def _credits(self):
        return self._config.credits if self._status == "ready" and self._kept.bytes < _KEPT_LIMIT_BYTES else 0

    def _send_credits(self):
        credits = self._credits()
        if credits != self._credits_sent:
            self._credits_sent = credits
            self._send(wire.credits_frame(credits))

    def _timeout_ms(self):
        if self._queue:
            return 0
        if self._model.ready is None or self._status == "failed":
            return None
        return max(0, int((self._next_ready - time.monotonic()) * 1000) + 1)

    # --- input ---

    def _wait(self, timeout_ms):
        """Takes what has arrived; with nothing to do, waits for it."""
        for fd, events in self._poll.poll(timeout_ms):
            link = self._connection
            if link is not None and fd == link.fd:
                if events & select.POLLOUT:
                    link.flush()
                if events & ~select.POLLOUT:
                    self._take(link, link.receive())
                self._watch(link)
            elif fd == self._life_fd:
                os._exit(0)  # the supervisor is gone
            else:
                self._accept()
        if timeout_ms != 0:
            self._send_stray_output()

    def _watch(self, link):
        """Keeps the poll set in step with the connection."""
        if not link.open:
            self._poll.unregister(link.fd)
            if self._connection is link:
                self._connection = None
        elif link.unsent:
            self._poll.modify(link.fd, select.POLLIN | select.POLLOUT)
        elif link is self._connection and self._watching_output:
            self._poll.modify(link.fd, select.POLLIN)
        self._watching_output = link.open and bool(link.unsent)

    def _accept(self):
        """A newer connection replaces the older one, after everything the older one has brought was read."""
        new = connection.accept(self._listener)
        if new is None:
            return
        old = self._connection
        if old is not None:
            drain = select.poll()
            drain.register(old.fd, select.POLLIN)
            while old.open and drain.poll(_DRAIN_MS):
                self._take(old, old.receive())
            old.close()
            self._watch(old)
        self._connection = new
        # A peer that comes back asks by ATTACH for what is kept. Fresher results may not overtake that, or it would take
        # the kept ones for repetitions of what it has seen.
        self._hold_results = self._kept.bytes > 0 or bool(self._queue)
        self._poll.register(new.fd, select.POLLIN)
        new.send(wire.json_frame(wire.HELLO, self._hello()))
        self._credits_sent = 0
        self._send_credits()

    def _hello(self):
        hello = self._model.state_event(self._status) if self._model else {}
        hello.pop("event", None)
        hello.update({"versions": wire.VERSIONS, "role": "worker", "id": "worker-%d" % self._index,
                      "index": self._index, "pid": os.getpid(), "state": self._status, "mode": self._config.mode,
                      "boot": self._boot, "credits": self._credits()})
        return hello

    def _take(self, link, frames):
        """Handles frames; a peer that breaks the protocol loses its connection and nothing else."""
        try:
            for kind, count, seq, data, start, end in frames:
                if kind == wire.REQUESTS and link.greeted:
                    if seq:
                        self._acknowledge(seq)
                    self._enqueue(wire.read_requests(count, data, start, end))
                else:
                    self._take_other(link, (kind, count, seq, data, start, end))
                if not link.open:
                    return
        except wire.ProtocolError as error:
            errors.log("closing a connection: %s" % error)
            link.close()

    def _take_other(self, link, frame):
        kind, count, seq, data, start, end = frame
        if not link.greeted:
            if kind != wire.HELLO:
                raise wire.ProtocolError("the first frame is no HELLO")
            link.greet(wire.read_json(data, start, end))
        elif kind == wire.ACK:
            self._acknowledge(seq)
        elif kind == wire.CANCEL:
            self._cancel(set(wire.read_ids(count, data, start, end)))
        elif kind == wire.ATTACH:
            self._attach(link, seq, wire.read_ids(count, data, start, end))
        elif kind == wire.PING:
            link.send(wire.frame(wire.PONG, seq=seq))

    def _acknowledge(self, seq):
        self._kept.acknowledge(seq)
        if not self._credits_sent:
            self._send_credits()

    def _enqueue(self, requests):
        now = time.perf_counter_ns()
        if self._status == "failed":
            reason = self._model.error or {"error": "the model is not loaded"}
            for rid, _, _, _, _ in requests:
                self._fail(rid, wire.NOT_READY, errors.to_json(reason))
            self._flush(0)
            return
        arguments = None
        if len(requests) > 1 and not self._joint:
            arguments = convert.parse_joint([r[2] for r in requests])
        append = self._queue.append
        at = 0
        for rid, _, payload, deadline_ms, kind in requests:
            if kind != wire.INFERENCE:
                self._fail(rid, wire.MALFORMED, b'{"error":"a worker takes no calls"}')
            else:
                append((rid, payload, now + deadline_ms * 1_000_000 if deadline_ms else 0, now,
                        arguments[at] if arguments is not None else None))
            at += 1
        if self._done:
            self._flush(0)

    def _cancel(self, ids):
        kept = deque()
        for item in self._queue:
            if item[0] in ids:
                self._fail(item[0], wire.CANCELLED, _CANCELLED)
                self._alone.discard(item[0])
            else:
                kept.append(item)
        self._queue = kept
        self._flush(0)

    def _attach(self, link, seq, ids):
        self._hold_results = False
        for made in self._kept.after(seq):
            link.send(made)
        known = self._kept.ids()
        known.update(item[0] for item in self._queue)
        for rid in ids:
            if rid not in known:
                self._fail(rid, wire.UNKNOWN, b'{"error":"this worker has never seen the request"}')
        self._flush(0)

    # --- work ---

    def _work(self):
        cpu = time.process_time_ns()
        if self._joint:
            self._work_jointly()
        else:
            self._work_rows()
        self._flush(time.process_time_ns() - cpu)

    def _work_rows(self):
        """Calls the handler row by row until the slice of time is over or nothing is left."""
        queue, call, running = self._queue, self._call, self._state.running
        clock, lseek, encode, done = time.perf_counter_ns, os.lseek, convert.encode, self._done
        stop = clock()
        stop += max(_SLICE_NS, min(_LONG_SLICE_NS, (stop - queue[0][3]) // 4))
        while queue:
            rid, payload, deadline, arrived, arguments = queue.popleft()
            status = wire.OK
            began = clock()
            if deadline and began > deadline:
                self._fail(rid, wire.DEADLINE, _DEADLINE_PASSED)
                continue
            try:
                if arguments is None:
                    arguments = convert.parse_arguments(payload)
                try:
                    running[0] = rid
                    result = call(*arguments)
                    running[0] = 0
                except BaseException as error:
                    running[0] = 0
                    status, value = self._failure(error)
            except errors.RequestCancelled:  # raised just when the call itself had failed
                running[0] = 0
                status, value = wire.CANCELLED, _CANCELLED
            except convert.Malformed as error:
                status, value = wire.MALFORMED, errors.to_json({"error": str(error)})
            ended = clock()
            if status == wire.OK:
                try:
                    value = encode(result)
                except errors.Unsendable as error:
                    status, value = wire.UNSENDABLE, errors.to_json({"error": str(error)})
            try:
                out = self._capture.take(1) if lseek(1, 0, 2) else b""
                err = self._capture.take(2) if lseek(2, 0, 2) else b""
            except OSError:  # the user's code replaced a descriptor
                out = err = b""
            done.append((rid, status, 1, value, out, err, ended - began, began - arrived))
            self._done_bytes += len(value)
            if ended > stop or self._done_bytes > _FLUSH_BYTES:
                return

    def _failure(self, error):
        """(status, value) for what a call has raised."""
        if isinstance(error, errors.RequestCancelled):
            return wire.CANCELLED, _CANCELLED
        if isinstance(error, MemoryError):
            gc.collect()
        return wire.RAISED, errors.to_json(errors.describe(error))

    def _work_jointly(self):
        """One call for everything queued, at most max_batch rows."""
        items = self._take_batch()
        items = self._parse_batch(items)
        if not items:
            return
        began = time.perf_counter_ns()
        ids = array.array("Q", [item[0] for item in items])
        status, value, results = wire.OK, b"", None
        try:
            try:
                self._state.set_running(memoryview(ids))
                results = self._call([item[4] for item in items])
                self._state.set_idle()
            except BaseException as error:
                self._state.set_idle()
                if self._try_again(error, items):
                    return
                status, value = self._joint_failure(error)
        except errors.RequestCancelled as error:  # raised just when the call itself had failed
            self._state.set_idle()
            if self._try_again(error, items):
                return
            status, value = wire.CANCELLED, _CANCELLED
        self._finish_batch(items, (status, value, results), (began, time.perf_counter_ns() - began))

    def _take_batch(self):
        queue, limit = self._queue, self._config.max_batch
        now = time.perf_counter_ns()
        items = []
        while queue and len(items) < limit:
            item = queue[0]
            if item[2] and now > item[2]:
                queue.popleft()
                self._fail(item[0], wire.DEADLINE, _DEADLINE_PASSED)
                self._alone.discard(item[0])
                continue
            if item[0] in self._alone:
                if not items:
                    self._alone.discard(item[0])
                    items.append(queue.popleft())
                break
            items.append(queue.popleft())
        return items

    def _parse_batch(self, items):
        """Fills in the arguments; rows that have none worth calling with are answered."""
        parsed = convert.parse_joint([item[1] for item in items])
        good = []
        for at, item in enumerate(items):
            try:
                arguments = parsed[at] if parsed is not None else convert.parse_arguments(item[1])
                wrong = calls.check_row(arguments, self._config.mode)
                if wrong:
                    raise convert.Malformed(wrong)
                good.append((item[0], item[1], item[2], item[3], arguments))
            except convert.Malformed as error:
                self._fail(item[0], wire.MALFORMED, errors.to_json({"error": str(error)}))
        return good

    def _try_again(self, error, items):
        """After a failed joint call: True when its rows are queued again, so that only the bad one fails."""
        if len(items) == 1:
            return False
        if isinstance(error, errors.RequestCancelled):
            gone = self._state.target()
            self._fail(gone, wire.CANCELLED, _CANCELLED)
            again = [item for item in items if item[0] != gone]
        elif isinstance(error, errors.Unsendable):
            return False  # the number of results is wrong, and would be wrong again
        else:
            again = items
            self._alone.update(item[0] for item in items)
        self._queue.extendleft(reversed(again))
        self._capture.take(1)
        self._capture.take(2)
        return True

    def _joint_failure(self, error):
        if isinstance(error, errors.Unsendable):
            return wire.UNSENDABLE, errors.to_json({"error": str(error)})
        if isinstance(error, convert.Malformed):
            return wire.MALFORMED, errors.to_json({"error": str(error)})
        return self._failure(error)

    def _finish_batch(self, items, outcome, timing):
        status, value, results = outcome
        began, run_ns = timing
        size = len(items)
        share = run_ns // size
        out, err = self._capture.take(1), self._capture.take(2)
        for at, item in enumerate(items):
            row_status, row_value = status, value
            if status == wire.OK:
                try:
                    row_value = convert.encode(results[at])
                except errors.Unsendable as error:
                    row_status, row_value = wire.UNSENDABLE, errors.to_json({"error": str(error)})
            self._done.append((item[0], row_status, size, row_value, out, err, share, began - item[3]))
            out = err = b""

    # --- output ---

    def _fail(self, rid, status, value):
        """A result without a call."""
        self._done.append((rid, status, 0, value, b"", b"", 0, 0))

    def _flush(self, cpu_ns):
        """Sends what is done. The CPU time of the slice is shared out by run time, so that sums are true."""
        done = self._done
        if not done:
            return
        self._done, self._done_bytes = [], 0
        pack, rss = wire.RESULT.pack, self._resident()
        cpu_ns += self._cpu_ns
        run_all = sum([row[6] for row in done])
        self._cpu_ns = 0 if run_all else cpu_ns
        if run_all:
            self._state.set_served()
        cpu_share = cpu_ns / run_all / 1000 if run_all else 0.0
        entries, payloads, size = [], [], 0
        for rid, status, batch, value, out, err, run_ns, wait_ns in done:
            if len(value) + len(out) + len(err) > wire.MAX_FRAME - 4096:
                status, value = wire.UNSENDABLE, errors.to_json(
                    {"error": "the result has %d bytes; at most %d can be sent" % (len(value), wire.MAX_FRAME - 4096)})
            if size + len(value) > wire.MAX_FRAME - 8192 - len(out) - len(err) or len(entries) == 65535:
                self._send_results(self._kept.keep(entries, payloads))
                entries, payloads, size = [], [], 0
            entries.append(pack(rid, status, 0, batch, len(value), len(out), len(err), _us(run_ns),
                                min(int(run_ns * cpu_share), _MOST), _us(wait_ns), rss))
            payloads.append(value)
            size += len(value) + 40
            if out or err:
                payloads.append(out)
                payloads.append(err)
                size += len(out) + len(err)
        self._send_results(self._kept.keep(entries, payloads))
        if self._kept.bytes > _KEPT_LIMIT_BYTES:
            self._send_credits()

    def _send_results(self, made):
        if not self._hold_results:
            self._send(made)

    def _send(self, data):
        link = self._connection
        if link is not None:
            link.send(data)
            if link.unsent and not self._watching_output:
                self._watch(link)

    def _send_stray_output(self):
        """What was written while no request ran belongs to none."""
        try:
            if not os.lseek(1, 0, 2) and not os.lseek(2, 0, 2):
                return
        except OSError:
            return
        event = self._capture.take_both()
        if event:
            event["event"] = "output"
            self._send(wire.json_frame(wire.EVENT, event))

    def _resident(self):
        now = time.monotonic()
        if now >= self._rss_next:
            import resource

            self._rss_next = now + 1
            self._rss_kib = min(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, _MOST)
        return self._rss_kib

    def _on_interrupt(self, _signal, _frame):
        if self._state.runs(self._state.target()):
            raise errors.RequestCancelled("the caller cancelled the request")


def _us(ns):
    return min(ns // 1000, _MOST)
