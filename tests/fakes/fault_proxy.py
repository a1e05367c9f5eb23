"""A proxy before an object store that breaks what it is told to, by the names of the objects asked for.

A path that holds `fault-KIND-N` is broken in the way KIND, each such path on its own:

  503, 403, 409, expired   the first N requests get that answer instead of the store's ("expired": the token is)
  cut         answers end, by a closed connection, after N bytes of body; every one of them
  lost        the store does what the first N writes ask for, but the connection closes before its answer
  stall       the first N answers stop half way, and nothing more comes
  slow        bodies come with N bytes a second
  flip        one bit of each body is another; the first N bodies

Run by itself: fault_proxy.py PORT UPSTREAM_PORT. From a test: `with FaultProxy(upstream_port) as proxy: proxy.port`.
"""

import asyncio
import re
import sys
import threading
from collections import Counter

S3_ERRORS = {
    "503": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "409": (409, "ConditionalRequestConflict"),
    "expired": (400, "ExpiredToken"),
}
WRITES = ("PUT", "POST", "DELETE")
HEAD_MAX = 64 * 1024
SLOW_PIECES_A_SECOND = 20


def header(head, name):
    match = re.search(rb"(?im)^" + name.encode() + rb":\s*(.*?)\r$", head)
    return match.group(1).decode() if match else None


async def read_message(reader, has_body):
    """Head and body of a request or an answer; (b"", b"") when the connection ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b"", b""
    if not has_body(head):
        return head, b""
    if "chunked" in (header(head, "transfer-encoding") or ""):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        head = re.sub(rb"(?im)^transfer-encoding:.*\r\n", f"Content-Length: {len(body)}\r\n".encode(), head)
        return head, body
    length = header(head, "content-length")
    if length is None:
        return head, b""
    return head, await reader.readexactly(int(length))


class FaultProxy:
    def __init__(self, upstream_port, port=0):
        self.upstream_port, self.port = upstream_port, port
        self.requests = Counter()  # by method: what tests may ask about
        self._seen = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=HEAD_MAX)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader, writer):
        head, body = await read_message(reader, lambda h: True)
        if not head:
            return False
        method, path = head.split(b" ", 2)[:2]
        method, path = method.decode(), path.decode()
        self.requests[method] += 1
        fault, count, name = self._fault(path)
        first = self._first(method, name, fault, count)
        if first and fault in S3_ERRORS:
            status, code = S3_ERRORS[fault]
            text = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>simulated</Message></Error>".encode()
            writer.write(f"HTTP/1.1 {status} Simulated\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
            return True
        answer_head, answer = await self._upstream(method, head, body)
        if first and fault == "lost" and method in WRITES:
            return False
        return await self._answer(writer, answer_head, answer, fault if first else None, count)

    def _fault(self, path):
        match = re.search(r"[^?&]*fault-([a-z0-9]+)-(\d+)[^?&]*", path)
        # The requests that begin an upload and those that belong to one are counted apart.
        return (match.group(1), int(match.group(2)), (match.group(0), "uploadId=" in path)) if match else (None, 0, "")

    def _first(self, method, name, fault, count):
        if fault in ("cut", "slow"):
            return True
        if fault == "lost" and method not in WRITES:
            return False
        self._seen[name, method] += 1
        return self._seen[name, method] <= count

    async def _upstream(self, method, head, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=HEAD_MAX)
        writer.write(head + body)
        await writer.drain()
        while True:
            answer = await read_message(reader, lambda h: method != "HEAD" and not re.match(rb"HTTP/1.1 (204|304|1)", h))
            if not answer[0].startswith(b"HTTP/1.1 100"):
                break
        writer.close()
        return answer

    async def _answer(self, writer, head, body, fault, count):
        if fault == "flip" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        writer.write(head)
        if fault == "stall" and body:
            writer.write(body[: len(body) // 2])
            await writer.drain()
            await asyncio.sleep(600)
            return False
        if fault == "cut" and len(body) > count:
            writer.write(body[:count])
            await writer.drain()
            return False
        if fault == "slow":
            piece = max(1, count // SLOW_PIECES_A_SECOND)
            for begin in range(0, len(body), piece):
                writer.write(body[begin : begin + piece])
                await writer.drain()
                await asyncio.sleep(1 / SLOW_PIECES_A_SECOND)
        else:
            writer.write(body)
        await writer.drain()
        return True


if __name__ == "__main__":
    with FaultProxy(int(sys.argv[2]), int(sys.argv[1])) as running:
        print(f"127.0.0.1:{running.port}", flush=True)
        threading.Event().wait()
