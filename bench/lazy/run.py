#!/usr/bin/env python3
"""Lazy images beside eager pulls and a fully local tree: one large real image, from a store in memory to the first answer.

  ./dev bench lazy                                                          everything, into docs/benchmarks-lazy.md
  ./dev bench lazy --rows hearth,local --nets 20ms --work sk -n 1           single rows of the cold starts
  ./dev bench lazy --parts steady,file                                      single parts
  ./dev bench lazy --report                                                 the page again from the results that are there
"""
import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import sys

import bound
import image
import page
import picture
from cold import ColdStarts
from layers import Layers
from machine import Cgroup, Containers, Failed, clear
from net import Network
from places import CACHE, STATE, WORKLOADS
from rows import all_rows
from sharing import Sharing
from steady import Steady
from weights import Weights

PARTS = ["bound", "cold", "sharing", "steady", "weights", "layers"]
SMALL_LAYERS = 200
NETS = ["0ms", "20ms", "20ms@125"]


class Results:
    """All records of a run, on disk after each of them: a run that dies leaves what it has measured."""

    def __init__(self, file, add):
        self.file = file
        self.records = json.loads(file.read_text()) if add and file.exists() else []

    def add(self, record):
        self.records.append(record)
        self.file.write_text(json.dumps(self.records, indent=1))
        words = [f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in record.items()]
        print(" ".join(words)[:400], flush=True)

    def part(self, name):
        return [r for r in self.records if r["part"] == name]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    parser.add_argument("--parts", type=words, help="of " + ",".join(PARTS) + " (all; cold alone when rows are named)")
    parser.add_argument("--rows", type=words, help="of the cold starts")
    parser.add_argument("--backends", type=words, default=["auto", "fuse"], help="of the other parts (%(default)s)")
    parser.add_argument("--nets", type=words, default=NETS, help="round trips, with @MB/s if limited (%(default)s)")
    parser.add_argument("--work", type=words, default=list(WORKLOADS), help="workloads (%(default)s)")
    parser.add_argument("-n", type=int, default=3, help="repetitions of the cold starts")
    parser.add_argument("--small-layers", type=int, default=SMALL_LAYERS, help="mounted at once (%(default)s)")
    parser.add_argument("--add", action="store_true", help="to the results that are there")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--note", default="", help="said on the page")
    parser.add_argument("--out", type=pathlib.Path, help="write the page (and its picture) here")
    args = parser.parse_args()
    args.whole = not (args.parts or args.rows)
    args.parts = args.parts or (["cold"] if args.rows else PARTS)
    return args


def measure(args, results):
    cgroup = Cgroup("hearth-bench")
    cgroup.take(os.getpid())
    clear(STATE)
    network = Network(Cgroup("hearth-bench-net"))
    try:
        containers = Containers(cgroup)
        rows = all_rows(containers, network)
        unknown = [r for r in args.rows or () if r not in rows]
        if unknown:
            sys.exit(f"no row {unknown[0]}; there are {', '.join(rows)}")
        chosen = {name: rows[name] for name in args.rows or rows}
        if "cold" in args.parts:
            ColdStarts(network, cgroup, chosen, results).run(args.work, args.nets, args.n)
        if "bound" in args.parts:
            bound.run_part(containers, args.work, results)
        if "sharing" in args.parts:
            Sharing(network, containers, results).run(args.backends)
        if "steady" in args.parts:
            Steady(network, containers, results).run(args.backends, args.n)
        if "weights" in args.parts:
            Weights(network, results).run(args.backends, args.nets, args.n)
        if "layers" in args.parts:
            Layers(network, results).run(args.backends, args.small_layers)
    finally:
        network.close()
        with contextlib.suppress(Failed):
            clear(STATE)


def main():
    args = arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    lock = open(CACHE / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    image.build()
    results = Results(CACHE / "results.json", args.add or args.report)
    if not args.report:
        load = os.getloadavg()
        try:
            measure(args, results)
        finally:
            results.add(page.facts(load, args))
    text = page.page(results)
    print(text)
    if args.out and (args.whole or args.report):
        args.out.write_text(text)
        args.out.with_suffix(".svg").write_text(picture.svg(page.cold_tables(results.records)))


if __name__ == "__main__":
    main()
