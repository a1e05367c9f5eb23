"""What is done once: the import of an image beside the best eager pull of it, and a second model on the same base."""
import shutil
import time

from cold import first_answer
from hearth import OBJECTS, Hearth
from layout import write_with_other_top
from machine import Failed, clear, drop_caches, limit, overlay, run
from places import CACHE, OCI, STATE, TAG, WORKLOADS
from rows import Containerd

SECOND = CACHE / "second"
IMAGE = "second"
PATIENCE_S = 1800


def build():
    """The same image with another app: its own workload's file and a model of its own name."""
    if (SECOND / "done").exists():
        return
    tree = SECOND / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(CACHE / "build/app", tree)
    for name in WORKLOADS:
        with open(tree / f"app/{name}.py", "a") as file:
            file.write("# the second model\n")
    write_with_other_top(SECOND / "oci", OCI, "second app", tree)
    (SECOND / "done").touch()


def stored_bytes():
    """Of layers and their packs; what was uploaded to import them is kept beside them for a while and not counted."""
    return sum(p.stat().st_size for kind in ("layers", "packs") for p in OBJECTS.rglob(f"{kind}/**/*") if p.is_file())


class Sharing:
    def __init__(self, network, containers, results):
        self.network, self.containers, self.results = network, containers, results

    def run(self, backends):
        self.guarded({"part": "import"}, self.imports)
        for backend in backends:
            self.guarded({"part": "second", "backend": backend}, lambda: self.second_start(backend))

    def guarded(self, where, measure):
        try:
            with limit(PATIENCE_S, where["part"]):
                self.results.add(where | measure())
        except (Failed, OSError) as e:
            self.results.add(where | {"failed": str(e)[:800]})
        finally:
            self.network.set("0ms")
            clear(STATE)

    def imports(self):
        """Seconds of Hearth's import and of the best eager pull, both with nothing there; and of an image that shares its base."""
        build()
        Hearth.prepare(self.network)
        before = stored_bytes()
        second_s = Hearth.add_images(self.network, {IMAGE: f"oci:{SECOND / 'oci'}:{TAG}"})[IMAGE]
        return {"seconds": Hearth.import_s, "pull_seconds": self.eager_pull(), "second_seconds": second_s, "stored_bytes": before,
                "second_stored_bytes": stored_bytes() - before}

    def eager_pull(self):
        row = Containerd("pull", self.containers, self.network, igzip=True)
        try:
            row.reset("tf")
            drop_caches()
            began = time.monotonic()
            run(row.ctr("image", "pull", "--plain-http", self.network.image))
            return time.monotonic() - began
        finally:
            row.stop()

    def second_start(self, backend):
        """Start the first image, then the second on the same node: what does the second fetch?"""
        if IMAGE not in Hearth.images:
            raise Failed("the second image is not imported")
        hearth = Hearth(self.network, backend)
        first, second = STATE / "first", STATE / "second"
        try:
            hearth.up()
            for folder, image in ((first, "bench"), (second, IMAGE)):
                folder.mkdir(parents=True)
                self.network.reset()
                began = time.monotonic()
                hearth.mount(folder, image)
                root = overlay(folder, STATE / f"overlay-{image}")
                first_answer(self.containers.start(root, WORKLOADS["tf"]))
                seconds = time.monotonic() - began
                if folder == first:
                    packs = self.packs()
            new = self.packs()
            return {"seconds": seconds, "down": self.network.stats()["down"], "kinds": self.network.sent_by_kind(),
                    "shared_pack_bytes": sum(count for path, count in new.items() if path in packs), "pack_bytes": sum(new.values())}
        finally:
            self.containers.end_all()
            hearth.down()

    def packs(self):
        return {path: count for (_, path), count in self.network.objects().items() if "/packs/" in path}
