"""What Hearth leans on goes away and comes back: object store, Redis, disk space."""

import os
import signal
import subprocess

import pytest
from conftest import wait_until

ECHO = "def predict(x):\n    return x\n"


@pytest.fixture
def own(make_server):
    server = make_server()
    server.deploy(ECHO, "echo")
    assert server.call("/v1/echo/latest", 1).status == 200
    yield server
    server.down()


def test_a_warm_model_needs_neither_store_nor_redis(own):
    store = own.data_dir / "store"
    away = own.data_dir / "store.away"
    redis = own.pid_of("redis")
    os.kill(redis, signal.SIGSTOP)
    store.rename(away)
    try:
        for i in range(50):
            assert own.call("/v1/echo/latest", i).json() == {"data": i}
        assert own.request("GET", "/livez", key=False).status == 200
    finally:
        away.rename(store)
        os.kill(redis, signal.SIGCONT)


def test_without_the_store_a_deployment_fails_clearly_and_works_again_once_it_is_back(own):
    store = own.data_dir / "store"
    away = own.data_dir / "store.away"
    store.rename(away)
    try:
        folder = own.folder / "m"
        folder.mkdir()
        (folder / "model.py").write_text(ECHO)
        (folder / "hearth.toml").write_text('[model]\nname = "later"\nhandler = "model:predict"\n')
        out = own.hearth("deploy", folder, check=False)
        assert out.returncode == 1 and "store" in out.stderr, out.stderr
    finally:
        away.rename(store)
    assert own.json("deploy", folder)["version"] == 1


def test_a_full_disk_fails_a_deployment_clearly_and_leaves_no_version(make_server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    server = None
    try:
        server = make_server("--store", str(disk / "store"))
        (server.folder / "m").mkdir()
        (server.folder / "m/model.py").write_text(ECHO)
        (server.folder / "m/big").write_bytes(os.urandom(80 << 20))
        (server.folder / "m/hearth.toml").write_text('[model]\nname = "toobig"\nhandler = "model:predict"\n')
        out = server.hearth("deploy", server.folder / "m", check=False)
        assert out.returncode == 1
        assert "disk" in out.stderr or "space" in out.stderr, out.stderr
        assert server.json("ls")["models"] == []
    finally:
        if server:
            server.down()
        wait_until(lambda: subprocess.run(["umount", disk]).returncode == 0)
