"""Steady state: the same loops over a complete layer and over the same tree on ext4, bare and below a container's overlayfs."""
import json
import os
import subprocess

from cold import first_answer
from hearth import Hearth
from machine import Failed, clear, drop_caches, limit, overlay, run
from places import PROGRAMS, STATE, TREE, WORKLOADS

READER = PROGRAMS / "reader"
PATIENCE_S = 600
SETTLE_S = 60  # for a layer to be complete and verified after all of it was read
RANDOM_READS = {"cold": 10000, "warm": 500000}
ROUNDS = {"cold": 1, "warm": 10}  # a warm round lasts too short to be timed alone


class Tree:
    """What the loops read, as paths relative to the tree's root: the same in every tree."""

    def __init__(self, root):
        self.all, self.python, sizes = [], [], {}
        for folder, names, files in os.walk(root):
            for name in names + files:
                path = os.path.relpath(os.path.join(folder, name), root)
                self.all.append(path)
                if name in files and not os.path.islink(os.path.join(root, path)):
                    sizes[path] = os.path.getsize(os.path.join(root, path))
        self.files = sorted(sizes)
        self.python = [p for p in self.files if p.endswith(".py")]
        self.largest = max(sizes, key=sizes.get)
        self.bytes = sum(sizes.values())


def read(*words, root=None, paths=()):
    """One run of the reader, below `root`; returns what it printed."""
    out = run([READER, *words], cwd=root, input="\n".join(paths) + "\n", timeout=PATIENCE_S)
    return json.loads(out.strip().splitlines()[-1])


LOOPS = {
    "sequential": lambda tree, root, cache: read("sequential", *[tree.largest] * ROUNDS[cache], root=root),
    "random 4 KiB": lambda tree, root, cache: read("random", RANDOM_READS[cache], tree.largest, root=root),
    "mmap": lambda tree, root, cache: read("mmap", ROUNDS[cache], tree.largest, root=root),
    "small files": lambda tree, root, cache: read("sequential", "-", root=root, paths=tree.python * ROUNDS[cache]),
    "stat": lambda tree, root, cache: read("stat", ROUNDS[cache], root=root, paths=tree.all),
    "readdir": lambda tree, root, cache: read("readdir", ROUNDS[cache], ".", root=root),
}


class Steady:
    def __init__(self, network, containers, results):
        self.network, self.containers, self.results = network, containers, results

    def run(self, backends, repetitions):
        tree = Tree(TREE / "rootfs")
        for backend in backends:
            hearth = Hearth(self.network, backend)
            try:
                with limit(PATIENCE_S * 2, f"complete layer ({backend})"):
                    Hearth.prepare(self.network)
                    hearth.up()
                    mounted = STATE / "mounted"
                    mounted.mkdir(parents=True)
                    hearth.mount(mounted)
                    read("sequential", "-", root=mounted, paths=tree.files)
                    hearth.wait_complete(SETTLE_S)
                self.compare(tree, {"ext4": TREE / "rootfs", "hearth": mounted}, backend, repetitions)
            except (Failed, OSError) as e:
                self.results.add({"part": "steady", "backend": backend, "failed": str(e)[:800]})
            finally:
                self.containers.end_all()
                hearth.down()
                clear(STATE)

    def compare(self, tree, roots, backend, repetitions):
        for view in ("bare", "stack"):
            shown = roots if view == "bare" else {name: overlay(root, STATE / f"stack-{name}") for name, root in roots.items()}
            for repetition in range(repetitions):
                for loop, run_loop in LOOPS.items():
                    for cache in ("cold", "warm"):
                        for name, root in shown.items():
                            where = {"part": "steady", "backend": backend, "view": view, "loop": loop, "cache": cache, "tree": name, "repetition": repetition}
                            self.measure(where, lambda: run_loop(tree, root, cache))
                if view == "stack":
                    self.imports(shown, backend, repetition)

    def imports(self, roots, backend, repetition):
        for work in WORKLOADS:
            for cache in ("cold", "warm"):
                for name, root in roots.items():
                    where = {"part": "steady", "backend": backend, "view": "stack", "loop": f"import {work}", "cache": cache, "tree": name, "repetition": repetition}
                    self.measure(where, lambda: {"count": 1, "bytes": 0, "seconds": first_answer(self.containers.start(root, WORKLOADS[work]))})

    def measure(self, where, loop):
        try:
            with limit(PATIENCE_S, where["loop"]):
                if where["cache"] == "cold":
                    drop_caches()
                elif where["loop"].startswith("import"):
                    pass  # the cold one has just run
                else:
                    loop()
                done = loop()
            self.results.add(where | done | {"rate": (done["bytes"] or done["count"]) / done["seconds"]})
        except (Failed, OSError, subprocess.SubprocessError) as e:
            self.results.add(where | {"failed": str(e)[:800]})
