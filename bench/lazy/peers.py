#!/usr/bin/env python3
"""Hearth as one more row of another harness: one whose run.py takes `--row NAME=COMMAND` and measures through its own proxy.

  bench/lazy/peers.py HARNESS --nets 0ms,20ms --work tf,sk -n 1        run.py's own words after the harness's folder

Starts the benchmark's store and registry, imports the image and records a start of each workload, then runs HARNESS/run.py with
the row `hearth` (peers_row.sh) and those of --rows (local) on that image, with the harness's proxy in front of both servers.
Results stay in BENCH_LAZY_DIR/peers/results.json; the harness prints its tables. docs/benchmarks-peers.md has the last ones.
"""
import os
import pathlib
import subprocess
import sys

import image
from hearth import DATA, IMAGE, PROGRAM, Hearth, store_at
from machine import Cgroup, Containers, Daemon, clear, run
from net import Network
from places import CACHE, HERE, OCI, STATE, TREE, WORKLOADS
from rows import HearthRow, Local

CGROUP = "peers"  # where the harness accounts for CPU time
WORK = CACHE / "peers"
LAZY = WORK / "lazy"


def prepare(network):
    """The image in the store, its profiles, and the unpacked tree of the harness's `local` row."""
    row = HearthRow("hearth", Containers(Cgroup(CGROUP)), network, "own", "auto")
    local = Local("local", row.containers, network)
    try:
        row.prepare()
        local.prepare()
    finally:
        row.stop()
    for work in WORKLOADS:  # both, as a fleet would have left them
        Hearth(network).learn(work)
    for name, target in (("oci", OCI), ("tree", TREE), ("bin/hearth", PROGRAM)):
        (LAZY / name).unlink(missing_ok=True)
        (LAZY / name).symlink_to(target)


def harness_environment(harness, network):
    words = run(["bash", "-c", f". {harness}/env.sh; env"], env=os.environ | {"PEERS_CACHE": str(WORK)})
    env = dict(line.split("=", 1) for line in words.splitlines() if "=" in line)
    return Hearth(network).env | env | {"BENCH_HARNESS": str(harness), "BENCH_DATA": str(DATA), "BENCH_IMAGE": IMAGE,
                                        "BENCH_STORE": store_at(env["PROXY_PORT"])}


def start_proxy(harness, env, network):
    program = LAZY / "bin/proxy"
    if not program.exists():
        run(["go", "build", "-o", program, "."], cwd=harness / "proxy")
    folder = LAZY / "net"
    folder.mkdir(parents=True, exist_ok=True)
    listen, control = f"127.0.0.1:{env['PROXY_PORT']}", f"127.0.0.1:{env['CTL_PORT']}"
    proxy = Daemon("proxy", [program, listen, f"127.0.0.1:{network.direct}", control], folder=folder)
    proxy.until(lambda: run(["curl", "-fs", f"http://{control}/stats"]))
    for number, daemon in enumerate([proxy, *network.daemons]):
        (folder / f"{number}.pid").write_text(str(daemon.process.pid))
    return proxy


def drive(harness, words):
    (LAZY / "bin").mkdir(parents=True, exist_ok=True)
    image.build()
    clear(STATE)
    network = Network(Cgroup("hearth-bench-net"))
    proxy = None
    try:
        prepare(network)
        env = harness_environment(harness, network)
        proxy = start_proxy(harness, env, network)
        rows = [] if "--rows" in words else ["--rows", "local"]
        out = [] if "--out" in words else ["--out", WORK / "results.json"]
        command = ["/usr/bin/python3", harness / "run.py", "--row", f"hearth={HERE / 'peers_row.sh'}", *rows, *out, *words]
        return subprocess.run([str(w) for w in command], env=env, check=False).returncode
    finally:
        if proxy:
            proxy.stop()
        network.close()
        clear(STATE)


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    os.umask(0o022)
    return drive(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
