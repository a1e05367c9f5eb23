"""What the measurements need of this machine: accounting of CPU time, dropped caches, mounts, containers, limits of time."""
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from places import CACHE, ENVIRONMENT, ROOT, STATE

# The programs of a node are warm on a real node: only what belongs to the image is cold.
NODE_PROGRAMS = ["runc", "skopeo", "umoci", "containerd", "containerd-shim-runc-v2", "ctr", "igzip", "mount", "umount", str(ROOT / "build/hearth")]
CGROUPS = pathlib.Path("/sys/fs/cgroup")
MOST_SHARES = "262144"  # of cgroup v1: 256 times the default
MOST_WEIGHT = "10000"  # of cgroup v2: 100 times the default


class Failed(RuntimeError):
    """A measurement that gave no number; the others go on."""


def run(command, timeout=600, **options):
    """Runs a program; what it says when it fails becomes the reason."""
    words = [str(w) for w in command]
    try:
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options).stdout
    except subprocess.CalledProcessError as e:
        raise Failed(f"{' '.join(words)[:200]}: status {e.returncode}: {(e.stderr or e.stdout)[-600:]}") from e
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Failed(f"{' '.join(words)[:200]}: {e}") from e


@contextlib.contextmanager
def limit(seconds, what):
    """Ends the block with Failed after so long. Only waits of this process are cut; what it started is its owner's to end."""
    def late(*_):
        raise Failed(f"{what}: not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- CPU time


class Cgroup:
    """A control group with the most CPU weight there is, so that other work on the machine disturbs less, and its CPU time.

    Processes live in NAME/rows, containers in NAME/containers (cgroup v2 wants no processes beside groups).
    """

    def __init__(self, name):
        self.name = name
        self.v1 = (CGROUPS / "cpuacct").is_dir()
        self.folders = [CGROUPS / c / name for c in ("cpu", "cpuacct")] if self.v1 else [CGROUPS / name]
        for folder in self.folders:
            for part in ("rows", "containers"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # without the cpu controller there is no weight, only accounting
            (self.folders[0] / ("cpu.shares" if self.v1 else "cpu.weight")).write_text(MOST_SHARES if self.v1 else MOST_WEIGHT)

    def take(self, pid):
        for folder in self.folders:
            (folder / "rows/cgroup.procs").write_text(str(pid))

    def path(self, container):
        return f"/{self.name}/containers/{container}"

    def cpu_s(self):
        if self.v1:
            return int((self.folders[-1] / "cpuacct.usage").read_text()) / 1e9
        usage = (self.folders[0] / "cpu.stat").read_text().split()
        return int(usage[usage.index("usage_usec") + 1]) / 1e6


# --- caches


def program_files():
    """The programs of a node and the libraries they load."""
    found = set()
    for program in filter(None, map(shutil.which, NODE_PROGRAMS)):
        found.add(program)
        linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        found |= {word for word in linked.split() if word.startswith("/")}
    return sorted(found)


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    for file in program_files():
        pathlib.Path(file).read_bytes()


# --- mounts and files of a row


def mounts_below(folder):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted((m for l in lines if (m := l.split()[4]).startswith(f"{folder}/")), reverse=True)


def clear(folder):
    """Unmounts and removes everything below; what is busy is detached."""
    for mount in mounts_below(folder):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
    left = mounts_below(folder)
    if left:
        raise Failed(f"still mounted: {left[0]}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def overlay(lower, folder):
    """A writable root over a read-only tree, as a container engine makes it."""
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(parents=True)
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work", folder / "root"])
    return folder / "root"


# --- containers


def spawn(command):
    """Starts a program with its output in pipes."""
    return subprocess.Popen([str(w) for w in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Containers:
    """Runs programs in containers of runc, all set up alike."""

    def __init__(self, cgroup):
        self.cgroup = cgroup
        self.numbers = itertools.count(1)
        folder = CACHE / "runc-spec"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").unlink(missing_ok=True)
        run(["runc", "spec"], cwd=folder)
        self.spec = json.loads((folder / "config.json").read_text())

    def start(self, root, arguments):
        """A container on the tree `root`, with its output in a pipe."""
        name = f"bench-{os.getpid()}-{next(self.numbers)}"
        bundle = STATE / name
        bundle.mkdir(parents=True)
        spec = json.loads(json.dumps(self.spec))
        spec["root"] = {"path": str(root), "readonly": False}
        spec["process"] |= {"terminal": False, "args": arguments, "env": [f"{k}={v}" for k, v in ENVIRONMENT.items()]}
        spec["linux"]["cgroupsPath"] = self.cgroup.path(name)
        (bundle / "config.json").write_text(json.dumps(spec))
        return spawn(["runc", "--root", STATE / "runc", "run", "--bundle", bundle, name])

    def end_all(self):
        for container in (STATE / "runc").glob("*"):
            subprocess.run(["runc", "--root", str(STATE / "runc"), "delete", "-f", container.name], check=False, capture_output=True)


class Daemon:
    """A program that runs beside a row, with its output in a log."""

    def __init__(self, name, command, env=None, folder=STATE):
        self.log = folder / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([str(w) for w in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=os.environ | (env or {}), start_new_session=True)

    def until(self, ready, patience=30):
        """Waits until `ready()` is true or does not raise."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(Failed, OSError):
                if ready() is not False:
                    return self
            time.sleep(0.02)
        raise Failed(f"{self.process.args[0]} is not ready: {self.log.read_text()[-600:]}")

    def stop(self):
        for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            if self.process.poll() is None:
                self.process.send_signal(sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
