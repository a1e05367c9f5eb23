"""What the end-to-end and chaos tests share: a real `hearth up` in a folder of its own, used as a client would."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEARTH = ROOT / "build/hearth"


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:500]!r}>"


class Server:
    """One `hearth up --detach`; every command runs with its URL and key and a home of its own."""

    def __init__(self, folder, *up_args):
        self.folder = Path(folder)
        self.data_dir = self.folder / "data"
        self.up_args = up_args
        self.env = os.environ | {"XDG_CONFIG_HOME": str(self.folder / "config")}
        self.info = None

    def up(self, *extra):
        out = subprocess.run(
            [HEARTH, "up", "--data-dir", self.data_dir, "--listen", "127.0.0.1:0", "--detach", "--json", *self.up_args, *extra],
            env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        assert out.returncode == 0, out.stderr
        self.info = json.loads(out.stdout.strip().splitlines()[-1])
        self.env |= {"HEARTH_URL": self.info["url"], "HEARTH_API_KEY": self.info["key"] or ""}
        return self.info

    def down(self):
        return subprocess.run([HEARTH, "down", "--data-dir", self.data_dir], env=self.env, capture_output=True, text=True, timeout=120)

    def hearth(self, *args, check=True, **kwargs):
        out = subprocess.run([HEARTH, *map(str, args)], env=self.env | kwargs.pop("env", {}), capture_output=True, text=True,
                             timeout=kwargs.pop("timeout", 900), **kwargs)
        if check:
            assert out.returncode == 0, f"hearth {' '.join(map(str, args))}: {out.stdout}{out.stderr}"
        return out

    def json(self, *args, **kwargs):
        return json.loads(self.hearth(*args, "--json", **kwargs).stdout.strip().splitlines()[-1])

    def status(self):
        return self.json("status", "--data-dir", self.data_dir)

    def pid_of(self, role):
        return next(p["pid"] for p in self.status()["processes"] if p["role"] == role)

    def replicas(self, model=None):
        return [r for r in self.status()["replicas"] if model in (None, r["model"])]

    def deploy(self, model_py, name, *args, toml="", files=(), mode=None, handler="model:predict"):
        """Deploys a model of this source text; returns what `hearth deploy --json` printed last."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "model.py").write_text(model_py)
        for path, content in dict(files).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        mode_line = f'mode = "{mode}"\n' if mode else ""
        (folder / "hearth.toml").write_text(f'[model]\nname = "{name}"\nhandler = "{handler}"\n{mode_line}{toml}')
        return self.json("deploy", folder, *args)

    def request(self, method, path, body=None, headers=None, key=True, timeout=120):
        url = path if path.startswith("http") else self.info["url"] + path
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)
        request.add_header("Content-Type", "application/json")
        if key:
            request.add_header("Authorization", f"Bearer {self.info['key'] if key is True else key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    def call(self, path, data, **kwargs):
        extra = kwargs.pop("extra", {})
        return self.request("POST", path, {"data": data, **extra}, **kwargs)

    def logs(self, model, *args):
        return [json.loads(line) for line in self.hearth("logs", model, "--json", *args).stdout.splitlines()]


@pytest.fixture(scope="session")
def base_store():
    """An object store that already holds the built-in base image, made once and copied by every server.
    HEARTH_TEST_STORE keeps it between runs."""
    kept = os.environ.get("HEARTH_TEST_STORE")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="hearth-store-"))
    if not (folder / "store").exists():
        folder.mkdir(parents=True, exist_ok=True)
        server = Server(tempfile.mkdtemp(prefix="hearth-e2e-"))
        try:
            server.up()
            server.deploy("def predict():\n    return 1\n", "seed")
            server.down()
            shutil.copytree(server.data_dir / "store/shared", folder / "store/shared")
        finally:
            server.down()
            shutil.rmtree(server.folder, ignore_errors=True)
    yield folder / "store"
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def make_server(base_store):
    """Starts servers that are always stopped in the end: make_server(*args of `hearth up`, env={…})."""
    servers = []

    def make(*up_args, env=None):
        server = Server(tempfile.mkdtemp(prefix="hearth-e2e-"), *up_args)
        server.env |= env or {}
        servers.append(server)
        store = server.data_dir / "store"
        store.parent.mkdir(parents=True)
        shutil.copytree(base_store, store)
        for folder, _, names in os.walk(store):
            for path in [folder, *(os.path.join(folder, n) for n in names)]:
                os.chown(path, 61700, 61700)
        server.up()
        return server

    yield make
    for server in servers:
        server.down()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(make_server):
    """One server for all tests that only add models of their own."""
    return make_server()
