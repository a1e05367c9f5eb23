"""docs/benchmarks.md: the tables of one run, the targets beside what was measured, and how to read them."""
import datetime
import os
import pathlib
import platform
import statistics
import subprocess

CONNECTIONS = (1, 16, 64)


def cell(results, case, row, connections, key):
    found = [r[key] for r in results if (r["case"], r["row"], r["connections"]) == (case, row, connections)]
    return statistics.median(found) if found else None


def tables(results):
    lines = []
    for case in dict.fromkeys(r["case"] for r in results):
        rows = list(dict.fromkeys(r["row"] for r in results if r["case"] == case))
        lines += ["", f"### {case}", "", "| row | " + " | ".join(f"{c} conn: req/s | hearth ÷ it | p50 ms | p99 ms" for c in CONNECTIONS)
                  + " | memory MB | CPU µs/req |", "|---|" + "---:|" * (4 * len(CONNECTIONS) + 2)]
        ours_case = "noop" if case == "proxy" else case
        for row in rows:
            cells = []
            for c in CONNECTIONS:
                rps, ours = cell(results, case, row, c, "rps"), cell(results, ours_case, "hearth", c, "rps")
                cells += [f"{rps:.0f}", f"{ours / rps:.2f}" if ours and rps else "", f"{cell(results, case, row, c, 'p50_ms'):.3f}",
                          f"{cell(results, case, row, c, 'p99_ms'):.1f}"]
            cells += [f"{cell(results, case, row, 64, 'memory_mb'):.0f}", f"{cell(results, case, row, 64, 'cpu_us'):.0f}"]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def targets(results, cold_ms):
    """(what, wanted, measured text, met or not) for what this run has the numbers of."""
    def get(case, row, connections, key="rps"):
        return cell(results, case, row, connections, key)

    def ratio(what, ours, theirs, least):
        if ours and theirs:
            found.append((what, f"≥ {least}", f"{ours / theirs:.2f}", ours / theirs >= least))

    def difference(what, ours, theirs, most):
        if ours is not None and theirs is not None:
            found.append((what, f"≤ {most} ms", f"{ours - theirs:.3f} ms", ours - theirs <= most))

    found = []
    ratio("no-op, 64 connections, requests a second ÷ FastAPI", get("noop", "hearth", 64), get("noop", "fastapi", 64), 2)
    ratio("row mode, 64 connections ÷ FastAPI", get("logreg", "hearth", 64), get("logreg", "fastapi", 64), 1.3)
    difference("row mode, 1 connection, p50 − FastAPI", get("logreg", "hearth", 1, "p50_ms"), get("logreg", "fastapi", 1, "p50_ms"), 0.1)
    ratio("batch mode, 64 connections ÷ batched Mosec", get("logreg-batch", "hearth", 64), get("logreg-batch", "mosec", 64), 1)
    difference("batch mode − row mode, 1 connection, p50", get("logreg-batch", "hearth", 1, "p50_ms"), get("logreg", "hearth", 1, "p50_ms"), 0.03)
    difference("added p50 of no-op, 1 connection (whole path − worker)", get("noop", "hearth", 1, "p50_ms"), get("noop", "worker", 1, "p50_ms"), 0.4)
    if cold_ms is not None:
        found.append(("cold start, trivial model, all local, median", "≤ 150 ms", f"{cold_ms:.0f} ms", cold_ms <= 150))
    return found


def target_table(results, cold_ms):
    lines = ["", "| target | wanted | measured | met |", "|---|---|---:|---|"]
    lines += [f"| {what} | {wanted} | {measured} | {'yes' if met else '**no**'} |" for what, wanted, measured, met in targets(results, cold_ms)]
    return "\n".join(lines) + "\n"


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib():
    for line in open("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return int(line.split()[1]) / 1024 / 1024
    return 0


def version_of(command):
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (out.stdout + out.stderr).strip().splitlines()[0].split()
    return next(w for w in words if any(c.isdigit() for c in w)).replace("/", " ")


def git_commit(root):
    out = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return out.stdout.strip() or "unknown"


def page(root, results, cold, options):
    requirements = ", ".join(l.strip().replace("==", " ") for l in (root / "bench/requirements.txt").read_text().splitlines() if l.strip())
    load = options["load"]
    busy = "" if max(load) < 0.5 * (os.cpu_count() or 1) else " **The machine was not quiet: read ratios and CPU time, not absolute numbers.**"
    nice = f" Clients and all servers ran at nice {options['nice']}." if options["nice"] else ""
    note = f" {options['note']}" if options["note"] else ""
    text = f"""# Benchmarks

Written by `./dev bench` (`bench/run.py`); do not edit. {datetime.date.today()}, commit {git_commit(root)}.
Lazy images have a page of their own, with a picture: [benchmarks-lazy.md](benchmarks-lazy.md) (`./dev bench lazy`).

Machine: {cpu_name()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, Linux {platform.release().split("-")[0]}. Load average before the run {load[0]:.1f}, after it {load[1]:.1f}.{busy}{nice}{note}
Peers: {requirements}; {version_of(["nginx", "-v"])}, haproxy {version_of(["haproxy", "-v"])}. Each point {options["seconds"]} s, {options["runs"]} run(s); with several, medians.

## Targets
{target_table(results, cold.median() if cold else None)}
## How to read this

All rows of a table were measured one after the other on the same cores, with the client (wrk, one thread) beside the server. Numbers of
different runs or machines do not compare; the column *hearth ÷ it* does. `noop` answers with the 64 numbers it was sent, `logreg` is logistic
regression on scikit-learn's digits, `logreg-batch` the same with natural batching (Hearth) or Mosec's window of 2 ms.

- *hearth*: the whole path: HTTP, key, queue, router, node, a container with two workers, and back; every request leaves a record.
- *worker*: one worker process called directly on its socket, one request a frame, by a client in Python: what is left of Hearth's path without router and node.
- *fastapi*: two uvicorn workers. *mosec*: two workers. All three serve the same function in two processes.
- *trivial direct*, *nginx*, *haproxy* (table `proxy`): an nginx that answers two bytes, and proxies in front of it: what any hop costs here. *hearth ÷ it* compares with `noop`.
- CPU µs/req: user and system time of all processes of the server at 64 connections. Memory: proportional set size of the same processes.
"""
    text += tables(results)
    return text + (cold.table() if cold else "")
