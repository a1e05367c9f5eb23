"""hearth up --pack-url: content is read through an HTTP cache, by signed URLs, and from the store when that one fails."""

import hashlib
import hmac
import os
import re
import shutil
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import Server
from test_images import layer, oci_layout

SECRET = "a secret that only the mirror and hearth know"
# Reading the first one must not bring the last one along.
FILES = {name: os.urandom(size << 20) for name, size in (("first", 3), ("middle", 40), ("second", 3))}


class Mirror(ThreadingHTTPServer):
    """A simulated HTTP cache: serves ranges of the store's folder to those whose URL is signed."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.served, self.refused, self.broken = None, [], [], False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        given = dict(part.split("=") for part in query.split("&") if part)
        signed = hmac.new(SECRET.encode(), f"{path}\n{given.get('expires')}".encode(), hashlib.sha256).hexdigest()
        if given.get("signature") != signed or int(given["expires"]) < time.time():
            self.server.refused.append(self.path)
            return self.answer(403, b"")
        if self.server.broken:
            return self.answer(500, b"")
        begin, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        content = (self.server.folder / path[1:]).read_bytes()
        self.server.served.append(path)
        self.answer(206, content[begin:end + 1], f"bytes {begin}-{min(end + 1, len(content)) - 1}/{len(content)}")

    def answer(self, status, body, content_range=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    mirror = Mirror()
    yield mirror
    mirror.shutdown()
    mirror.server_close()


@pytest.fixture
def server(mirror):
    folder = tempfile.mkdtemp(prefix="hearth-mirror-", dir="/var/tmp")
    secret = os.path.join(folder, "secret")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.write(SECRET + "\n")
    server = Server(folder, "--pack-url", mirror.url, "--pack-url-secret-file", secret, "--complete", "off")
    mirror.folder = server.data_dir / "store"
    server.up()
    yield server
    server.down()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mounted(server):
    server.hearth("image", "import", f"oci:{oci_layout([layer([(n, 'file', {'content': c}) for n, c in FILES.items()])])}:v1", "files")
    folder = tempfile.mkdtemp()
    server.hearth("image", "mount", "files", folder, "--data-dir", server.data_dir)
    yield lambda name: open(os.path.join(folder, name), "rb").read()
    server.hearth("image", "umount", folder)
    os.rmdir(folder)


def bytes_from(server, tier):
    text = server.request("GET", "/metrics", key=False).body
    text = text.decode() if isinstance(text, bytes) else text
    if "hearth_imagefs_fetch_bytes_total" not in text:
        pytest.skip("this host has no lazy image back end")
    return int(re.search(rf'hearth_imagefs_fetch_bytes_total{{tier="{tier}"}} (\d+)', text).group(1))


def test_content_comes_through_the_mirror_and_from_the_store_once_that_is_broken(server, mirror, mounted):
    assert mounted("first") == FILES["first"]
    assert bytes_from(server, "mirror") >= len(FILES["first"])
    assert bytes_from(server, "store") == 0
    assert mirror.served and not mirror.refused
    mirror.broken = True
    assert mounted("second") == FILES["second"]
    assert bytes_from(server, "store") > 0
