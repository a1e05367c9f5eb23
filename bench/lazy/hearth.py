"""Hearth as the rows use it: `hearth up` on a store that holds the image, and images mounted by imagefs.

The store's objects are files of the benchmark's own server, so a node's past is made by moving files: a store without any
profile is what the first start of an image meets.
"""
import functools
import json
import os
import shutil
import subprocess
import time

from machine import Failed, mounts_below, run
from net import BUCKET
from places import CACHE, OCI, RAM, ROOT, TAG, WORKLOADS

PROGRAM = ROOT / "build/hearth"
FOLDER = CACHE / "hearth"
DATA = FOLDER / "data"
IMAGE = "bench"
OBJECTS = RAM / "s3" / BUCKET
LEARNED = RAM / "learned"  # per back end and workload: the objects that its recorded starts added to the store
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"}
STORE = os.environ.get("BENCH_LAZY_STORE", "s3")  # or "directory": no network then
RECORDING_PATIENCE_S = 150
SETTLE_S = 3


@functools.cache
def knows(option, *command):
    """Whether this build's command takes the option."""
    return option in subprocess.run([PROGRAM, *command, "--help"], capture_output=True, text=True).stdout


def store_at(port):
    return f"s3://{BUCKET}?endpoint=http://127.0.0.1:{port}"


def objects():
    return {p.relative_to(OBJECTS) for p in OBJECTS.rglob("*") if p.is_file()}


class Hearth:
    """One `hearth up`; its daemons live from up() to down()."""

    base = None  # the store's objects right after the import
    images = set()
    import_s = None
    broken = None  # why the image could not be imported, if so
    recording = None  # why no profile could be recorded, if so

    def __init__(self, network, backend="auto", settings=()):
        if backend == "auto" and not knows("auto", "up"):
            backend = "unpack"
        self.network, self.backend = network, backend
        self.env = os.environ | KEYS | {"XDG_CONFIG_HOME": str(FOLDER / "config")} | dict(settings)

    def command(self, *words, timeout=600):
        return run([PROGRAM, *words], timeout=timeout, env=self.env)

    def store(self):
        if STORE == "directory":
            return str(OBJECTS)
        return store_at(self.network.port)

    def up(self, profiles_of=None, keep_cache=False):
        """A node without anything of the image; in the store what was recorded of that workload, or nothing."""
        if not keep_cache:
            shutil.rmtree(DATA / "imagefs", ignore_errors=True)
        if Hearth.base:
            self.forget_learned()
        if profiles_of:
            self.learn(profiles_of)
        out = self.command("up", "--data-dir", DATA, "--listen", "127.0.0.1:0", "--store", self.store(), "--image-backend", self.backend,
                           "--detach", "--json", timeout=180)
        info = json.loads(out.strip().splitlines()[-1])
        self.env |= {"HEARTH_URL": info["url"], "HEARTH_API_KEY": info["key"] or ""}

    def down(self):
        subprocess.run([PROGRAM, "down", "--data-dir", DATA], env=self.env, capture_output=True, timeout=120, check=False)

    def mount(self, folder, image=IMAGE, profile=None):
        words = ["--profile", profile] if profile and knows_profiles() else []
        self.command("image", "mount", image, folder, "--data-dir", DATA, *words)

    def umount(self, folder):
        self.command("image", "umount", folder)

    def wait_complete(self, patience_s):
        """After everything was read: until imagefs has nothing left to do with the layer."""
        time.sleep(min(patience_s, SETTLE_S))

    def roles(self):
        """{role: pid} of what runs."""
        status = json.loads(self.command("status", "--data-dir", DATA, "--json"))
        return {p["role"]: p["pid"] for p in status["processes"]}

    # --- what earlier starts have left in the store

    def forget_learned(self):
        for path in objects() - Hearth.base:
            (OBJECTS / path).unlink()

    def learn(self, work):
        source = LEARNED / self.backend / work
        if not source.is_dir():
            raise Failed(Hearth.recording or f"no profile of {work} was recorded")
        for path in source.rglob("*"):
            if path.is_file():
                target = OBJECTS / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                shutil.chown(target, *owner_of(OBJECTS))

    def keep_learned(self, work):
        for path in objects() - Hearth.base:
            target = LEARNED / self.backend / work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(OBJECTS / path, target)

    # --- once a run

    @classmethod
    def prepare(cls, network):
        """Imports the image."""
        if cls.broken:
            raise Failed(cls.broken)
        if cls.base is not None:
            return
        shutil.rmtree(OBJECTS, ignore_errors=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.rmtree(LEARNED, ignore_errors=True)
        OBJECTS.mkdir(parents=True)
        FOLDER.mkdir()
        cls.base = set()
        try:
            cls.import_s = cls.add_images(network, {IMAGE: f"oci:{OCI}:{TAG}"})[IMAGE]
        except Failed as e:
            cls.broken = f"import: {e}"
            raise

    @classmethod
    def add_images(cls, network, sources):
        """More images in the store, by name; returns the seconds that each import took (none for those that are there)."""
        new = {name: source for name, source in sources.items() if name not in cls.images}
        took, hearth = {}, cls(network)
        if not new:
            return took
        try:
            hearth.up()
            for name, source in new.items():
                began = time.monotonic()
                hearth.command("image", "import", source, name, timeout=1800)
                took[name] = time.monotonic() - began
                cls.images.add(name)
        finally:
            hearth.down()
        cls.base = objects()
        return took

    @classmethod
    def record(cls, network, containers_start, folder, backend):
        """Records a start of every workload: containers_start(tree, work) runs it to its end."""
        if all((LEARNED / backend / work).is_dir() for work in WORKLOADS) or cls.recording:
            return
        if not knows_profiles():
            cls.recording = "this build has no `hearth image mount --profile`"
            return
        for work in WORKLOADS:
            hearth = cls(network, backend)
            try:
                hearth.up()
                tree = folder / f"record-{backend}-{work}"
                tree.mkdir(parents=True)
                hearth.mount(tree, profile=work)
                containers_start(tree, work)
                hearth.command("image", "recorded", IMAGE, "--profile", work, "--data-dir", DATA)
                wait_for_profile(work)
                hearth.keep_learned(work)
            finally:
                for mount in mounts_below(folder):
                    subprocess.run(["umount", "-l", mount], check=False)
                hearth.down()


def wait_for_profile(work):
    end = time.monotonic() + RECORDING_PATIENCE_S
    while time.monotonic() < end:
        if any("profiles" in p.parts and work in p.parts for p in objects()):
            time.sleep(1)  # nothing else is written for it
            return
        time.sleep(0.2)
    raise Failed(f"no profile of {work} came into the store")


def owner_of(path):
    info = path.stat()
    return info.st_uid, info.st_gid


def knows_profiles():
    return knows("--profile", "image", "mount")
