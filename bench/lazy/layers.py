"""Many small layers, and much data: time and memory of a mount, and imagefs's memory while it streams."""
import threading
import time

import weights
from hearth import IMAGE, Hearth
from layout import write_image
from machine import Failed, clear, limit
from places import CACHE, STATE, TAG, TREE
from steady import Tree, read

FOLDER = CACHE / "small"
FILES = 20  # in a small layer
PATIENCE_S = 1800
STREAM_ROUNDS = 3
STREAM_CACHE = {"HEARTH_IMAGEFS_CACHE_SIZE": str(3 << 30)}  # less than both images, more than either: each read evicts what was read before
ROLES = ("imagefs", "holder")


def build(count):
    for number in range(count):
        oci = FOLDER / f"oci-{number}"
        if (oci / "index.json").exists():
            continue
        tree = FOLDER / "tree"
        tree.mkdir(parents=True, exist_ok=True)
        for name in range(FILES):
            (tree / f"file-{name}").write_text(f"layer {number}, file {name}\n" * 200)
        write_image(oci, {"small": tree}, gzip_level=1)


def memory_kb(pids):
    """Proportional set size: shared pages are counted once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def kernel_kb():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Slab:"))


class Layers:
    def __init__(self, network, results):
        self.network, self.results = network, results

    def run(self, backends, count):
        for backend in backends:
            self.guarded({"part": "mounts", "backend": backend}, lambda hearth: self.mounts(hearth, count), backend)
            self.guarded({"part": "stream", "backend": backend}, self.stream, backend)

    def guarded(self, where, measure, backend):
        hearth = Hearth(self.network, backend, STREAM_CACHE if where["part"] == "stream" else ())
        try:
            with limit(PATIENCE_S, where["part"]):
                Hearth.prepare(self.network)
                self.results.add(where | measure(hearth))
        except (Failed, OSError) as e:
            self.results.add(where | {"failed": str(e)[:800]})
        finally:
            hearth.down()
            clear(STATE)

    def mounts(self, hearth, count):
        build(count)
        Hearth.add_images(self.network, {f"small-{n}": f"oci:{FOLDER / f'oci-{n}'}:{TAG}" for n in range(count)})
        hearth.up()
        pids = [hearth.roles()[role] for role in ROLES]
        took, before, slab = [], memory_kb(pids), kernel_kb()
        self.network.reset()
        for number in range(count):
            folder = STATE / f"small-{number}"
            folder.mkdir(parents=True)
            began = time.monotonic()
            hearth.mount(folder, f"small-{number}")
            took.append(time.monotonic() - began)
        took.sort()
        return {"count": count, "median_s": took[count // 2], "slowest_s": took[-1], "kb_per_layer": (memory_kb(pids) - before) / count,
                "kernel_kb_per_layer": (kernel_kb() - slab) / count}

    def stream(self, hearth):
        """Reads two images from the store in turn, again and again."""
        weights.add_image(self.network)
        images = {IMAGE: Tree(TREE / "rootfs"), weights.IMAGE: Tree(weights.FILE.parent)}
        hearth.up()
        self.network.reset()
        watch = MemoryWatch([hearth.roles()["imagefs"]])
        total, seconds, by_round = 0, 0.0, []
        try:
            for number in range(STREAM_ROUNDS):
                for image, tree in images.items():
                    folder = STATE / f"stream-{number}-{image}"
                    folder.mkdir(parents=True)
                    hearth.mount(folder, image)
                    done = read("sequential", "-", root=folder, paths=tree.files)
                    hearth.umount(folder)
                    total, seconds = total + done["bytes"], seconds + done["seconds"]
                by_round.append(watch.most_kb)
        finally:
            watch.stop()
        return {"bytes": total, "seconds": seconds, "fetched": self.network.stats()["down"], "most_kb_by_round": by_round}


class MemoryWatch:
    """The most memory that processes have had since it began."""

    def __init__(self, pids):
        self.pids, self.most_kb, self.over = pids, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.2):
            try:
                self.most_kb = max(self.most_kb, memory_kb(self.pids))
            except OSError:
                return

    def stop(self):
        self.over.set()
        self.thread.join()
