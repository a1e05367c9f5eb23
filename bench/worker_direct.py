#!/usr/bin/env python3
"""Measures a worker called directly on its socket: what the model and the runner alone can do, row (a) of the table.

    bench/worker_direct.py [--python PYTHON] [--seconds 3] [--model noop|digits-row|digits-batch …]

Prints one JSON line a measurement: requests per second at a window of outstanding requests sent in frames, the
worker's CPU time per request, and the round trip of one request at a time.
"""
import argparse
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runner", "tests"))

from replica import Replica, wire  # noqa: E402

_DIGITS = """
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
x, y = load_digits(return_X_y=True)
model = LogisticRegression(max_iter=1000).fit(x / 16.0, y)
"""
_ROW = _DIGITS + """
import numpy
def predict(*pixels):
    p = model.predict_proba(numpy.asarray(pixels, dtype=float).reshape(1, -1) / 16.0)[0]
    return {"class": int(p.argmax()), "probabilities": p.tolist()}
"""
_BATCH = _DIGITS + """
import numpy
def predict(rows):
    p = model.predict_proba(numpy.asarray(rows, dtype=float) / 16.0)
    return [{"class": c, "probabilities": row} for c, row in zip(p.argmax(axis=1).tolist(), p.tolist())]
"""
_PIXELS = ",".join(str(float(i % 17)) for i in range(64))
MODELS = {
    "noop": ("def predict(x):\n    return x\n", "row", "5"),
    "digits-row": (_ROW, "row", _PIXELS),
    "digits-batch": (_BATCH, "batch", _PIXELS),
}


def count_results(client, data):
    """How many results the bytes complete, and the last sequence number; reads entries only as far as needed."""
    done, last = 0, 0
    for kind, count, seq, _, _, _ in client._decoder.feed(data):
        if kind == wire.RESULTS:
            done += count
            last = seq + count - 1
    return done, last


def frame_of(count, payload, ack):
    return wire.requests_frame([(i + 1, 0, payload, 30000, wire.INFERENCE) for i in range(count)], ack)


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput(client, payload, shape, seconds):
    """`shape`: (outstanding requests, requests a frame)."""
    window, per_frame = shape
    pid = client.hello["pid"]
    body = frame_of(per_frame, payload, 0)
    entries = body[16:]
    outstanding = done = last = 0
    cpu, began = cpu_seconds(pid), time.perf_counter()
    while time.perf_counter() - began < seconds:
        while outstanding + per_frame <= window:
            client.send(wire.HEADER.pack(len(entries), wire.REQUESTS, 0, per_frame, last) + entries)
            outstanding += per_frame
        got, seen = count_results(client, client.socket.recv(1 << 20))
        done += got
        outstanding -= got
        last = seen or last
    took, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu
    while outstanding:
        outstanding -= count_results(client, client.socket.recv(1 << 20))[0]
    return {"window": window, "per_frame": per_frame, "per_second": round(done / took),
            "per_cpu_second": round(done / cpu) if cpu else None}


def round_trip(client, payload, times):
    entries = frame_of(1, payload, 0)[16:]
    last, took = 0, []
    for _ in range(times):
        began = time.perf_counter()
        client.send(wire.HEADER.pack(len(entries), wire.REQUESTS, 0, 1, last) + entries)
        got = 0
        while not got:
            got, last = count_results(client, client.socket.recv(1 << 16))
        took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    return {"round_trip_p50_us": round(statistics.median(took), 1), "p99_us": round(took[int(len(took) * 0.99)], 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--model", nargs="*", default=["noop"], choices=sorted(MODELS))
    options = parser.parse_args()
    for name in options.model:
        code, mode, payload = MODELS[name]
        with Replica(code, python=[options.python], mode=mode, environment={"OMP_NUM_THREADS": "1"}) as replica:
            client = replica.worker()
            round_trip(client, payload.encode(), 200)
            for shape in ((1, 1), (16, 1), (64, 1), (64, 32), (256, 64)):
                print(json.dumps(dict(model=name, **throughput(client, payload.encode(), shape, options.seconds))), flush=True)
            print(json.dumps(dict(model=name, **round_trip(client, payload.encode(), 3000))), flush=True)


if __name__ == "__main__":
    main()
