"""docs/benchmarks-lazy.md: the goals beside what was measured, the tables of one run, and how to read them."""
import datetime
import os
import platform
import re
import subprocess
import sys

import goals
from hearth import STORE
from places import CACHE, HERE, ROOT
from tables import ColdTable, pick, table

sys.path.append(str(HERE.parent))
from report import cpu_name, git_commit, memory_gib  # noqa: E402  the other benchmark's page

PROGRAMS = {"skopeo": ["skopeo", "--version"], "umoci": ["umoci", "--version"], "runc": ["runc", "--version"],
            "containerd": ["containerd", "--version"], "igzip": ["igzip", "--version"], "nginx": ["nginx", "-v"]}


def facts(load_before, args):
    """What must stand beside the numbers: commit, versions, load."""
    versions = {}
    for name, command in PROGRAMS.items():
        try:
            out = subprocess.run(command, capture_output=True, text=True, check=False)
            found = re.search(r"\d+\.\d+[\w.+~-]*", out.stdout + out.stderr)
            versions[name] = found[0] if found else "?"
        except OSError:
            versions[name] = "missing"
    return {"part": "facts", "date": str(datetime.date.today()), "commit": git_commit(ROOT), "load_before": load_before[0],
            "load_after": os.getloadavg()[0], "versions": versions, "store": STORE, "note": args.note, "parts": args.parts}


def cold_tables(records):
    seen = dict.fromkeys((r["work"], r["net"]) for r in records if r["part"] == "cold")
    return [ColdTable(records, work, net) for work, net in seen]


def failures(records):
    failed = [r for r in records if "failed" in r]
    if not failed:
        return ""
    lines = [[" ".join(str(r[k]) for k in ("part", "row", "work", "net", "repetition") if k in r), r["failed"].replace("\n", " ").replace("|", "/")[:300]]
             for r in failed]
    return "\n## Failed\n\n" + table(["measurement", "why"], lines)


def head(records):
    runs = pick(records, part="facts")
    lines = ["# Benchmarks: lazy images", "", "Written by `./dev bench lazy` (`bench/lazy/run.py`); do not edit.", ""]
    lines.append(f"Machine: {cpu_name()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, Linux {platform.release()}. "
                 "Client, servers and the network between them share its cores.")
    for r in runs:
        versions = ", ".join(f"{k} {v}" for k, v in r["versions"].items())
        busy = " **The machine was not quiet: read ratios, not seconds.**" if r["load_before"] > 0.5 * (os.cpu_count() or 1) else ""
        no_net = " **Hearth's store was a folder: its rows met no network.**" if r["store"] == "directory" else ""
        lines.append(f"Run of {r['date']}, commit {r['commit']} ({', '.join(r['parts'])}): load average before {r['load_before']:.1f}, "
                     f"after {r['load_after']:.1f}.{busy}{no_net} {versions}. {r['note']}")
    packages = CACHE / "versions.txt"
    if packages.exists():
        wanted = ("tensorflow", "scikit-learn", "pandas", "xgboost", "onnxruntime", "numpy")
        named = [l.replace("==", " ") for l in packages.read_text().split() if l.startswith(wanted)]
        lines.append(f"Image: Debian with python3, {', '.join(named)}.")
    return "\n".join(lines) + "\n"


READING = """
## How to read this

One image, four gzip layers; two workloads: `tf` imports tensorflow, loads a keras model and answers once, `sk` does so with scikit-learn and a
forest. Time runs from the command that pulls or mounts to the workload's first line. Before it nothing of the image is on the node and the page
cache is dropped; the node's own programs are read back into it. Repetitions are the outer loop; ratios are taken within a repetition, then their median.

- *local*: the tree lies unpacked on ext4; its cold start has a cold page cache. *eager*: skopeo, umoci, runc. *containerd*: Debian's, `ctr pull` and
  `ctr run`; *containerd-igzip*: the same where its `unpigz` is answered by igzip, the fastest gunzip.
- *hearth*: kernel path, with a profile recorded of the same workload; *-other*: with the other workload's profile; *-first*: without any, as the
  first start of an image; *-fuse*: the portable path, with profiles recorded on it. All start the container with runc over overlayfs, like *local*.
- Network: a proxy in front of registry and store. `20ms` is a round trip added to each connection's set-up and to each answer, `@125` a link of
  125 MB/s for all connections together. No TLS, slow start or loss. Registry and store are files in memory; the store is a **simulated** S3.
- MB fetched and requests: counted in that proxy until the first line. CPU s: the control group of client, daemons and container until then, without
  the servers, the proxy and the kernel's own threads.
- *again*: the same command once more with what is local now, first with the page cache as the start before left it, then after dropping it.
"""


def page(results):
    records = results.records
    tables = cold_tables(records)
    text = head(records)
    if rows := goals.all_goals(records, tables):
        text += "\n## Goals\n\n" + table(["what", "goal", "measured", "met"], rows)
    if tables:
        text += "\n## Cold starts\n\n![cold starts](benchmarks-lazy.svg)\n\n" + "\n".join(t.markdown() for t in tables)
    text += goals.bound_table(records) + goals.steady_table(records) + goals.weights_table(records) + goals.once_table(records)
    return text + READING + failures(records)
