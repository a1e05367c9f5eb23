"""Readers of a file that is not all here, while holder and supervisor are killed: they wait, get EIO or the right bytes, never
zeros. The test stands for imagefs: it speaks the holder's protocol (docs/formats/holder.md) and fills the file."""

import array
import ctypes
import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import pytest
from conftest import ROOT, Server, wait_until

sys.path.append(str(ROOT / "tests/e2e"))
from test_images import layer, oci_layout  # noqa: E402

PAGE = 4096
PAGES = 64
GROUP = b"imagefs/group"
FAN_CLASS_PRE_CONTENT, FAN_NONBLOCK, FAN_UNLIMITED_QUEUE, FAN_CLOEXEC = 0x8, 0x2, 0x10, 0x1
FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD = 0x1, 0x100000, -100
READER = "import os, sys; fd = os.open(sys.argv[1], 0); sys.stdout.buffer.write(os.pread(fd, 4096, int(sys.argv[2])))"

libc = ctypes.CDLL(None, use_errno=True)


def content(page):
    return bytes(1 + (page * 31 + i % 251) % 255 for i in range(PAGE))


class Holder:
    """One connection; messages as in docs/formats/holder.md."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        pid = struct.unpack("3i", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        start = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19])
        self.process = (pid, start)

    def send(self, kind, body, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([struct.pack("<BBHI", 1, kind, 0, 1) + body], rights)

    def receive(self):
        data, *_ = self.socket.recvmsg(131072, 4096)
        assert data, "the holder is gone"
        assert data[1] != 132, data
        return data[1], data[8:]

    def ask(self, kind, body, fds=()):
        self.send(kind, body, fds)
        return self.receive()[1]

    def relay(self, group, predecessor=(0, 0)):
        return struct.unpack("<I", self.ask(7, text(GROUP) + struct.pack("<IQI", *predecessor, 60_000), [group]))[0]

    def track(self, file):
        self.ask(8, text(b"pack/test") + struct.pack("<QIIB", 7, 0, PAGE, 0), [file.data, file.presence])

    def counts(self):
        body = self.ask(13, b"")
        found, at = {}, 4
        for _ in range(struct.unpack_from("<I", body)[0]):
            size = struct.unpack_from("<I", body, at)[0]
            found[body[at + 4:at + 4 + size].decode()] = struct.unpack_from("<Q", body, at + 4 + size)[0]
            at += 12 + size
        return found

    def serve(self, file, count):
        """Listens on a connection of its own, fills and answers until so many were answered."""
        listener = Holder(self.path)
        listener.ask(10, b"")
        while count > 0:
            kind, body = listener.receive()
            assert kind == 134
            events = [struct.unpack_from("<QQQQI", body, 4 + 36 * i) for i in range(struct.unpack_from("<I", body)[0])]
            for sequence, token, offset, length, _ in events:
                assert token == 7
                for page in range(offset // PAGE, (offset + length) // PAGE):
                    file.fill(page)
                listener.send(11, struct.pack("<IQI", 1, sequence, 0))
            count -= len(events)
        listener.ask(13, b"")  # what was sent before has been taken
        listener.socket.close()


def text(value):
    return struct.pack("<I", len(value)) + value


class File:
    """Sparse; opened for filling before it is marked."""

    def __init__(self, folder):
        self.path = folder / "pack.data"
        self.data = os.open(self.path, os.O_RDWR | os.O_CREAT)
        self.presence = os.open(folder / "pack.present", os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.data, PAGE * PAGES)
        os.ftruncate(self.presence, PAGES // 8)

    def fill(self, page):
        os.pwrite(self.data, content(page), page * PAGE)
        byte = os.pread(self.presence, 1, page // 8)[0]
        os.pwrite(self.presence, bytes([byte | 1 << page % 8]), page // 8)


class Readers:
    """Processes that read one page each."""

    def __init__(self, file):
        self.file, self.running = file, {}

    def start(self, pages):
        for page in pages:
            self.running[page] = subprocess.Popen([sys.executable, "-c", READER, str(self.file.path), str(page * PAGE)],
                                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def all_wait(self):
        return all(p.poll() is None for p in self.running.values())

    def finish(self):
        """{page: "right" | "EIO"}; anything else is a failure."""
        seen = {}
        for page, process in self.running.items():
            out, err = process.communicate(timeout=60)
            if process.returncode == 0:
                assert out == content(page), f"page {page}: {'zeros' if not any(out) else 'wrong bytes'}"
            else:
                assert b"Input/output error" in err, err
            seen[page] = "right" if process.returncode == 0 else "EIO"
        self.running = {}
        return seen


def open_group():
    group = libc.fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_CLOEXEC, os.O_RDWR | os.O_CLOEXEC)
    if group < 0:
        pytest.skip("kernel has no pre-content events")
    return group


def mark(group, file):
    path = f"/proc/self/fd/{file.data}".encode()
    if libc.fanotify_mark(group, FAN_MARK_ADD, ctypes.c_uint64(FAN_PRE_ACCESS), AT_FDCWD, path) != 0:
        pytest.skip("kernel has no pre-content events")


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def next_holder(path, dead):
    """A connection to the one that the supervisor starts."""
    def connected():
        try:
            holder = Holder(path)
        except OSError:
            return None
        return holder if holder.process != dead else None

    return wait_until(connected)


def supervisor_has_copy(server):
    """It takes one when imagefs is ready (again), at the latest after ten seconds."""
    pid = server.info["pid"]
    wait_until(lambda: any("fanotify" in link for link in links_of(pid)), 30)


def links_of(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass


@pytest.fixture
def server():
    """Without models. Its own imagefs makes no group: the test's is the only one."""
    server = Server(tempfile.mkdtemp(prefix="hearth-reads-", dir="/var/tmp"), "--image-backend", "unpack")
    server.up()
    yield server
    server.down()
    shutil.rmtree(server.folder, ignore_errors=True)


def test_readers_wait_or_fail_and_never_read_zeros_while_holder_and_supervisor_are_killed(server):
    path = server.data_dir / "run/holder.sock"
    file = File(server.folder)
    group = open_group()
    mark(group, file)
    holder = Holder(path)
    holder.relay(group)
    holder.track(file)
    readers = Readers(file)

    # The holder alone is killed; "imagefs" lives on.
    supervisor_has_copy(server)
    readers.start(range(0, 8))
    wait_until(lambda: holder.counts()["waiting"] == 8)
    kill(holder.process[0])
    readers.start(range(8, 12))
    holder = next_holder(path, holder.process)
    holder.track(file)
    holder.serve(file, 4)
    seen = readers.finish()
    assert [seen[page] for page in range(8)] == ["EIO"] * 8, "what the dead holder had taken is denied"
    assert [seen[page] for page in range(8, 12)] == ["right"] * 4, "what it had not taken waits for the next"

    # Holder and "imagefs" at once: the supervisor's copy is the last.
    os.close(group)
    readers.start(range(12, 20))
    wait_until(lambda: holder.counts()["waiting"] == 8)
    kill(holder.process[0])
    readers.start(range(20, 24))
    time.sleep(0.1)
    holder = next_holder(path, holder.process)
    holder.track(file)
    holder.serve(file, 4)
    assert sorted(readers.finish().values()) == ["EIO"] * 8 + ["right"] * 4

    # The supervisor is killed and started anew; then the holder: the new supervisor had taken its copy from the old one.
    kill(server.info["pid"])
    server.up()
    supervisor_has_copy(server)
    readers.start(range(24, 30))
    wait_until(lambda: holder.counts()["waiting"] == 6)
    assert readers.all_wait()
    kill(holder.process[0])
    holder = next_holder(path, holder.process)
    assert set(readers.finish().values()) == {"EIO"}

    # And what is there is read although nobody listens.
    holder.track(file)
    readers.start(range(8, 12))
    assert set(readers.finish().values()) == {"right"}

    # Nobody uses the file any more: the holder can end.
    holder.socket.close()
    os.close(file.data)
    os.close(file.presence)
    assert server.down().returncode == 0


FILES = {name: os.urandom(2 << 20) for name in ("a", "b", "c", "d")}


class Mounted:
    """An image that a user has mounted outside of Hearth's own folders."""

    def __init__(self, server):
        self.server, self.folder = server, server.folder / "mounted"
        self.folder.mkdir()
        content = layer([(name, "file", {"content": bytes}) for name, bytes in FILES.items()])
        server.hearth("image", "import", f"oci:{oci_layout([content])}:v1", "files")
        server.hearth("image", "mount", "files", self.folder, "--data-dir", server.data_dir)

    def read(self, name):
        """"right" or "EIO"; anything else is a failure."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            assert error.errno == errno.EIO, error
            return "EIO"
        assert content == FILES[name], f"{name} has wrong bytes"
        return "right"

    def umount(self):
        subprocess.run(["umount", self.folder], check=True)


@pytest.fixture
def mounted():
    server = Server(tempfile.mkdtemp(prefix="hearth-reads-", dir="/var/tmp"), "--image-backend", "erofs", "--complete", "off")
    try:
        server.up()
    except AssertionError as refused:
        pytest.skip(f"this host has no kernel path: {refused}")
    mounted = Mounted(server)
    yield mounted
    subprocess.run(["umount", "-l", mounted.folder], stderr=subprocess.DEVNULL)
    server.up()
    server.down()
    shutil.rmtree(server.folder, ignore_errors=True)


def test_after_down_what_is_missing_of_a_mounted_image_fails_until_the_next_up(mounted):
    server = mounted.server
    holder = server.pid_of("holder")
    assert mounted.read("a") == "right"
    out = server.down()
    assert out.returncode == 1 and "holder stays" in out.stderr, out
    assert mounted.read("a") == "right", "it is all here"
    assert mounted.read("b") == "EIO"
    server.up()
    assert server.pid_of("holder") == holder
    assert mounted.read("b") == "right"
    mounted.umount()
    run = (server.data_dir / "run").resolve()
    out = server.down()
    assert out.returncode == 0, out
    assert not run.exists()


def test_a_holder_that_stayed_ends_when_the_image_is_unmounted(mounted):
    server = mounted.server
    holder = server.pid_of("holder")
    assert server.down().returncode == 1
    assert os.path.exists(f"/proc/{holder}")
    mounted.umount()
    wait_until(lambda: not os.path.exists(f"/proc/{holder}"))
    server.up()
    assert server.pid_of("holder") != holder
    assert server.down().returncode == 0


def test_readers_wait_when_supervisor_holder_and_imagefs_are_killed_together(mounted):
    server = mounted.server
    assert mounted.read("a") == "right"
    node = server.pid_of("node")
    wait_until(lambda: any("fanotify" in link for link in links_of(node)))
    victims = [server.info["pid"], server.pid_of("holder"), server.pid_of("imagefs")]
    for pid in victims:
        kill(pid)
    reader = subprocess.Popen(["cat", mounted.folder / "b"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    assert reader.poll() is None, "it waits"
    out = server.down()
    assert out.returncode == 1 and "hearth up" in out.stderr, out
    assert reader.poll() is None
    server.up()
    content, error = reader.communicate(timeout=60)
    assert content == FILES["b"] or b"Input/output error" in error
    assert FILES["b"].startswith(content), "never zeros"
    assert [mounted.read(name) for name in FILES] == ["right"] * 4
    mounted.umount()
    assert server.down().returncode == 0
