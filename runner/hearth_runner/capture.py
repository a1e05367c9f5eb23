"""What a call writes to Python's streams and to descriptors 1 and 2 (children's output included), kept per call.

Each stream is a memory file in append mode under the descriptor: asking whether anything was written is one lseek.
"""
import io
import os
import sys


class _Stream(io.FileIO):
    """Bytes from Python to one descriptor; what exceeds the limit is counted instead of written, so that a model which
    prints for ever does not fill the replica's memory. (Other writers to the descriptor are cut when it is read.)"""

    def __init__(self, fd, limit):
        super().__init__(fd, "w", closefd=False)
        self._limit = limit
        self._room = limit
        self.cut = 0

    def write(self, data):
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if size <= self._room:
            self._room -= size
            super().write(data)
        else:
            if self._room:
                super().write(bytes(data)[:self._room])
            self.cut += size - self._room
            self._room = 0
        return size

    def reset(self):
        self._room = self._limit
        self.cut = 0


def _text(stream):
    return io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)


class Capture:
    """Takes over descriptors 1 and 2, sys.stdout and sys.stderr of this process."""

    def __init__(self, limit):
        self._limit = limit
        self._streams = {fd: _Stream(fd, limit) for fd in (1, 2)}
        self.renew_files()
        sys.stdout = sys.__stdout__ = _text(self._streams[1])
        sys.stderr = sys.__stderr__ = _text(self._streams[2])

    def renew_files(self):
        """Own memory files, after a fork. The stream objects stay, because loggers hold on to them."""
        for fd in (1, 2):
            memory = _memory_file("hearth-fd%d" % fd)
            os.dup2(memory, fd, inheritable=True)
            os.close(memory)

    def take(self, fd):
        """What was written to `fd` since the last take, at most the limit, and a line that says how much was cut."""
        stream = self._streams[fd]
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
            if not size and not stream.cut:
                return b""
            data = os.pread(fd, min(size, self._limit), 0)
            os.ftruncate(fd, 0)
        except OSError:  # the user's code put something else there
            return b""
        cut = stream.cut + size - len(data)
        stream.reset()
        if cut:
            data += b"\n[hearth: %d more bytes were cut]\n" % cut
        return data

    def take_both(self):
        """{"stdout", "stderr"} as text, without the empty ones."""
        taken = {}
        for fd, name in ((1, "stdout"), (2, "stderr")):
            data = self.take(fd)
            if data:
                taken[name] = data.decode("utf-8", "replace")
        return taken


def unbuffer_c_streams():
    """Lets C code's printf arrive with its own request instead of a later one. Done only where ctypes is loaded anyway
    (numpy loads it): it is not worth its import time in an image without extensions."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        return
    try:
        libc = ctypes.CDLL(None)
        libc.fflush(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, 2, 0)  # _IONBF
    except (OSError, AttributeError, ValueError):
        pass


def _memory_file(name):
    """An empty file in memory whose every write appends, also after it was emptied."""
    import fcntl

    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    except OSError:  # hardened kernels refuse it; the replica's /tmp is memory as well
        fd = os.open("/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd
