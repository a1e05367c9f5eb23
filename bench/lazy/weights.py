"""A 512 MiB file of weights: read from the local disk, and from the store over each net, beside what ext4 and plain range
requests need for the same bytes."""
import random
import subprocess
import time

from hearth import Hearth
from layout import write_image
from machine import Failed, clear, drop_caches, limit, run
from places import CACHE, RAM, STATE, TAG
from steady import read

FOLDER = CACHE / "weights"
FILE = FOLDER / "tree/weights.bin"
OCI = FOLDER / "oci"
IMAGE = "weights"
BYTES = 512 << 20
STREAMS = 8  # of the plain range requests
PATIENCE_S = 300


def build():
    """Random bytes, as weights nearly are: no compression helps anybody."""
    if (FOLDER / "done").exists():
        return
    FILE.parent.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(1)
    with open(FILE, "wb") as file:
        for _ in range(BYTES >> 20):
            file.write(numbers.randbytes(1 << 20))
    write_image(OCI, {"weights": FILE.parent}, gzip_level=1)
    (FOLDER / "done").touch()


def add_image(network):
    build()
    target = RAM / "registry/blobs" / FILE.name
    if not target.exists():
        target.write_bytes(FILE.read_bytes())
    Hearth.prepare(network)
    Hearth.add_images(network, {IMAGE: f"oci:{OCI}:{TAG}"})


def plain_requests(network):
    """Seconds to fetch the bytes with parallel range requests into nothing."""
    url = f"http://127.0.0.1:{network.port}/v2/ml/blobs/{FILE.name}"
    part, began = BYTES // STREAMS, time.monotonic()
    curls = [subprocess.Popen(["curl", "-sf", "-o", "/dev/null", "-r", f"{n * part}-{(n + 1) * part - 1}", url]) for n in range(STREAMS)]
    if any([c.wait() for c in curls]):
        raise Failed("curl failed")
    return time.monotonic() - began


def read_cold(root):
    drop_caches()
    return read("sequential", FILE.name, root=root)["seconds"]


class Weights:
    def __init__(self, network, results):
        self.network, self.results = network, results

    def run(self, backends, nets, repetitions):
        try:
            with limit(1800, "weights"):
                add_image(self.network)
        except (Failed, OSError) as e:
            self.results.add({"part": "weights", "failed": str(e)[:800]})
            return
        for repetition in range(repetitions):
            for backend in backends:
                for net in nets:
                    self.measure(backend, net, repetition)

    def measure(self, backend, net, repetition):
        """One node without anything: mount, read from the store; then from its disk."""
        where = {"part": "weights", "backend": backend, "net": net, "repetition": repetition}
        hearth = Hearth(self.network, backend)
        try:
            with limit(PATIENCE_S, "weights"):
                hearth.up()
                self.network.set(net)
                requests = plain_requests(self.network)
                mounted = STATE / "mounted"
                mounted.mkdir(parents=True)
                hearth.mount(mounted, IMAGE)
                self.results.add(where | {"from": "store", "seconds": read_cold(mounted), "requests_seconds": requests})
                self.network.set("0ms")
                if net == "0ms":
                    hearth.wait_complete(PATIENCE_S)
                    self.results.add(where | {"from": "disk", "seconds": read_cold(mounted), "ext4_seconds": read_cold(FILE.parent)})
        except (Failed, OSError) as e:
            self.results.add(where | {"failed": str(e)[:800]})
        finally:
            self.network.set("0ms")
            hearth.down()
            clear(STATE)
