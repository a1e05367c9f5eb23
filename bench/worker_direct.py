#!/usr/bin/env python3
"""Measures a worker called directly on its socket: what model and runner alone can do, row (a) of the benchmark.

    bench/worker_direct.py --folder bench/models/noop --handler model:predict --mode row --row '[1, 2]' --outstanding 64

Keeps that many requests outstanding, answers each result with the next request, as so many connections would.
Prints one JSON line: rps, p50_ms, p99_ms, cpu_us (of the worker, a request), memory_mb, errors. `--per-frame N` sends
N requests in one frame, as a node under load does.
"""
import argparse
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runner", "tests"))

from replica import Replica, wire  # noqa: E402


class Load:
    """Closed loop over one connection."""

    def __init__(self, client, payload):
        self._client = client
        self._payload = payload
        self._decoder = wire.Decoder()
        self._next_id = 1
        self._last_seq = 0
        self._sent = {}  # id → when
        self.took = []
        self.errors = 0

    def send(self, count):
        now = time.perf_counter()
        requests = []
        for rid in range(self._next_id, self._next_id + count):
            self._sent[rid] = now
            requests.append((rid, 0, self._payload, 30000, wire.INFERENCE))
        self._next_id += count
        self._client.send(wire.requests_frame(requests, self._last_seq))

    def receive(self):
        """Results that have come; waits for at least one byte."""
        got = 0
        frames = self._decoder.feed(self._client.socket.recv(1 << 20))
        now = time.perf_counter()
        for kind, count, seq, data, start, _ in frames:
            if kind != wire.RESULTS:
                continue
            for fields in wire.RESULT.iter_unpack(data[start:start + wire.RESULT.size * count]):
                self.took.append(now - self._sent.pop(fields[0]))
                self.errors += fields[1] != wire.OK
            self._last_seq = seq + count - 1
            got += count
        return got

    def run(self, seconds, outstanding, per_frame):
        """Requests answered within the time; what is left is taken in afterwards."""
        done = free = 0
        for _ in range(outstanding // per_frame):
            self.send(per_frame)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            got = self.receive()
            done += got
            free += got
            while free >= per_frame:
                self.send(per_frame)
                free -= per_frame
        while self._sent:
            self.receive()
        return done


def cpu_seconds(pid):
    with open("/proc/%d/schedstat" % pid) as file:
        return int(file.read().split()[0]) / 1e9


def memory_mb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--handler", default="model:predict")
    parser.add_argument("--setup")
    parser.add_argument("--mode", default="row", choices=["row", "batch", "dataframe"])
    parser.add_argument("--row", default="[5]", help="the arguments, a JSON list")
    parser.add_argument("--outstanding", type=int, default=64)
    parser.add_argument("--per-frame", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    payload = json.dumps(json.loads(options.row), separators=(",", ":"))[1:-1].encode()
    with Replica(options.folder, python=[options.python], mode=options.mode, handler=options.handler,
                 setup=options.setup) as replica:
        client = replica.worker()
        pid = client.hello["pid"]
        Load(client, payload).run(min(1.0, options.seconds), options.outstanding, options.per_frame)
        load = Load(client, payload)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        done = load.run(options.seconds, options.outstanding, options.per_frame)
        took, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu
        times = sorted(load.took)
        print(json.dumps({"rps": round(done / took, 1), "p50_ms": round(times[len(times) // 2] * 1e3, 4),
                          "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 4),
                          "cpu_us": round(cpu * 1e6 / len(times), 2), "memory_mb": round(memory_mb(pid), 1),
                          "errors": load.errors, "requests": len(times)}))


if __name__ == "__main__":
    main()
