"""Process trees, their memory and CPU, and one wrk run: what the benchmarks share."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")


class Tree:
    """A process and all its descendants. Started by us (command) or already there (pids of its roots; those in `alone`
    count without their descendants)."""

    def __init__(self, command=None, env=None, cwd=None, log=None, roots=(), alone=()):
        self.process = None
        self.alone = set(alone)
        self.roots = set(roots)
        if command:
            self.process = subprocess.Popen(
                command, env=os.environ | (env or {}), cwd=cwd, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            self.roots = {self.process.pid}

    def pids(self):
        parents = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        found = set(self.roots)
        while more := {p for p, up in parents.items() if up in found} - found:
            found |= more
        return [p for p in found | self.alone if p in parents]

    def memory_mb(self):
        """Proportional set size: shared pages are counted once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in open(f"/proc/{pid}/smaps_rollup"):
                    total += int(line.split()[1]) if line.startswith("Pss:") else 0
        return total / 1024

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def stop(self):
        if not self.process:
            return
        for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            for pid in self.pids() if sign == signal.SIGKILL else [self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            end = time.monotonic() + patience
            while time.monotonic() < end:
                self.process.poll()
                if not self.pids():
                    return
                time.sleep(0.05)


def wrk(url, connections, seconds, body_file=None, headers=()):
    env = os.environ | {"BENCH_HEADERS": "\n".join(headers)}
    if body_file:
        env["BENCH_BODY_FILE"] = str(body_file)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(HERE / "load.lua"), url]
    out = subprocess.run(command, env=env, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"wrk failed: {out.stdout}{out.stderr}")
    return json.loads(out.stdout.strip().splitlines()[-1])


def point(tree, load):
    """One measurement: rate, latency, errors, memory and CPU of the server's tree."""
    cpu = tree.cpu_s()
    got = load()
    cpu = tree.cpu_s() - cpu
    return {
        "rps": got["requests"] * 1e6 / got["us"],
        "p50_ms": got["p50_us"] / 1000,
        "p99_ms": got["p99_us"] / 1000,
        "errors": got["errors"],
        "memory_mb": tree.memory_mb(),
        "cpu_us": cpu * 1e6 / max(1, got["requests"]),
    }
