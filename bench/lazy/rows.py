"""The rows of the cold start table: ways to bring an image from a registry or a store to a running container.

A row has four verbs, called in this order:
  reset(work)  nothing of the image is local any more; daemons of a node are up
  cold(work)   from the image's name to a running container of the workload: returns it, its output is the workload's
  again(work)  the same once more, with what is local now
  stop()       daemons end, mounts and files are gone
"""
import os
import shutil

from hearth import Hearth
from machine import Daemon, Failed, clear, overlay, run, spawn
from places import OCI, STATE, TAG, TREE, WORKLOADS


class Row:
    repetitions = None  # as many as asked for

    def __init__(self, name, containers, network):
        self.name, self.containers, self.network = name, containers, network
        self.runs = 0

    def prepare(self):
        """Once, before the first measurement."""

    def reset(self, work):
        self.stop()

    def again(self, work):
        return self.cold(work)

    def stop(self):
        self.containers.end_all()
        clear(STATE)

    def start_on(self, tree, work):
        """A container over a read-only tree."""
        self.runs += 1
        root = overlay(tree, STATE / f"overlay-{self.runs}")
        return self.containers.start(root, WORKLOADS[work])


class Local(Row):
    """The tree lies unpacked on ext4; runc only. The floor that a user knows."""

    def prepare(self):
        if not (TREE / "done").exists():
            shutil.rmtree(TREE, ignore_errors=True)
            run(["umoci", "unpack", "--image", f"{OCI}:{TAG}", TREE], timeout=1200)
            (TREE / "done").touch()

    def cold(self, work):
        return self.start_on(TREE / "rootfs", work)


class Eager(Row):
    """Everything is copied, then unpacked, then started: skopeo, umoci, runc. It is slow, and never the best eager row: once is enough."""

    repetitions = 1

    def cold(self, work):
        layout = STATE / "oci"
        run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{self.network.image}", f"oci:{layout}:{TAG}"])
        run(["umoci", "unpack", "--image", f"{layout}:{TAG}", STATE / "unpacked"])
        return self.again(work)

    def again(self, work):
        return self.containers.start(STATE / "unpacked/rootfs", WORKLOADS[work])


CONTAINERD = """version = 2
root = "{state}/root"
state = "{state}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{state}/containerd.sock"
"""


class Containerd(Row):
    """Debian's containerd: ctr pull, ctr run. It gunzips by itself, or with the fastest gunzip there is: its `unpigz` is igzip."""

    def __init__(self, name, containers, network, igzip=False):
        super().__init__(name, containers, network)
        self.igzip = igzip
        self.repetitions = None if igzip else 1
        self.daemon = None

    def environment(self):
        if not self.igzip:
            return {"CONTAINERD_DISABLE_PIGZ": "1"}
        folder, igzip = STATE / "bin", shutil.which("igzip")
        if not igzip:
            raise Failed("igzip is missing (package isal)")
        folder.mkdir()
        (folder / "unpigz").symlink_to(igzip)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    def ctr(self, *words):
        return ["ctr", "-a", STATE / "containerd.sock", *words]

    def reset(self, work):
        self.stop()
        (STATE / "config.toml").write_text(CONTAINERD.format(state=STATE))
        self.daemon = Daemon("containerd", ["containerd", "-c", STATE / "config.toml"], self.environment())
        self.daemon.until(lambda: run(self.ctr("version")))

    def cold(self, work):
        run(self.ctr("image", "pull", "--plain-http", self.network.image))
        return self.again(work)

    def again(self, work):
        self.runs += 1
        name = f"bench-{os.getpid()}-ctr-{self.runs}"
        return spawn(self.ctr(
            "run", "--rm", "--cgroup", self.containers.cgroup.path(name), self.network.image, name, *WORKLOADS[work]))

    def stop(self):
        if self.daemon:
            for name in run(self.ctr("container", "ls", "-q"), timeout=20).split() if self.daemon.process.poll() is None else ():
                run(self.ctr("task", "kill", "-s", "9", name), timeout=20)
            self.daemon.stop()
            self.daemon = None
        super().stop()


class HearthRow(Row):
    """Hearth's imagefs: `hearth image mount`, then runc over overlayfs as in the other rows.

    profile: "own" (recorded of this workload), "other" (of the other one), "none" (nobody has started the image before)."""

    def __init__(self, name, containers, network, profile, backend):
        super().__init__(name, containers, network)
        self.profile, self.backend = profile, backend
        self.hearth = None

    def prepare(self):
        Hearth.prepare(self.network)
        if self.profile != "none":
            Hearth.record(self.network, self.finish, STATE, self.backend)

    def finish(self, tree, work):
        self.start_on(tree, work).communicate()

    def key(self, work):
        others = [w for w in WORKLOADS if w != work]
        return {"own": work, "other": others[0], "none": None}[self.profile]

    def reset(self, work):
        self.stop()
        self.hearth = Hearth(self.network, self.backend)
        self.hearth.up(profiles_of=self.key(work))

    def cold(self, work):
        tree = STATE / f"mount-{self.runs}"
        tree.mkdir()
        self.hearth.mount(tree, profile=work if self.profile == "none" else self.key(work))
        return self.start_on(tree, work)

    def stop(self):
        self.containers.end_all()
        if self.hearth:
            self.hearth.down()
            self.hearth = None
        super().stop()


def all_rows(containers, network):
    rows = [Local("local", containers, network), Eager("eager", containers, network),
            Containerd("containerd", containers, network), Containerd("containerd-igzip", containers, network, igzip=True)]
    for suffix, backend in (("", "auto"), ("-fuse", "fuse")):
        for label, profile in (("", "own"), ("-other", "other"), ("-first", "none")):
            rows.append(HearthRow(f"hearth{suffix}{label}", containers, network, profile, backend))
    rows.append(HearthRow("hearth-unpack", containers, network, "none", "unpack"))
    return {row.name: row for row in rows}
