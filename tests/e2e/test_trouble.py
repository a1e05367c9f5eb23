"""When the machine misbehaves: a store that goes away, a disk that fills, models nobody calls."""

import os
import subprocess
import time
from pathlib import Path

import pytest

VALUE = "def predict():\n    return {value!r}\n"
PID = "import os\ndef predict():\n    return os.getpid()\n"


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture(scope="module")
def server(make_server):
    return make_server()


def test_a_store_that_goes_away_stops_deployments_but_no_warm_model(server):
    server.deploy(VALUE.format(value="warm"), "warm")
    assert server.call("/v1/warm/latest", [[1]]).status == 200
    store, away = server.data_dir / "store", server.data_dir / "store-away"
    versions = {m["model"]: m["versions"] for m in server.json("ls")["models"]}
    store.rename(away)
    try:
        for _ in range(5):
            assert server.call("/v1/warm/latest", [[1]]).json() == {"data": [[1, "warm"]]}
            time.sleep(0.5)
        folder = server.folder / "unstored"
        folder.mkdir()
        (folder / "model.py").write_text(VALUE.format(value="new"))
        (folder / "hearth.toml").write_text('[model]\nname = "unstored"\nhandler = "model:predict"\n')
        out = server.hearth("deploy", folder, check=False)
        assert out.returncode == 1 and "store" in out.stderr
    finally:
        if store.exists():
            store.rename(server.data_dir / "store-made-meanwhile")
        away.rename(store)
    assert not (server.data_dir / "store-made-meanwhile").exists(), "nothing makes a new store where one was"
    assert {m["model"]: m["versions"] for m in server.json("ls")["models"]} == versions
    assert server.deploy(VALUE.format(value="again"), "warm")["version"] == 2
    recorded = wait_until(lambda: len(server.logs("warm", "--limit", "100")) >= 6 and server.logs("warm", "--limit", "100"))
    assert len(recorded) == len({r["id"] for r in recorded})


def test_a_full_disk_fails_the_deployment_with_one_message_and_leaves_no_version(make_server):
    """The store on a small file system of its own, filled up."""
    server = make_server()
    server.down()
    store = server.data_dir / "store"
    size = sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
    aside = server.data_dir / "store-aside"
    store.rename(aside)
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 2**20 + 24}m,mode=0750,uid=61700,gid=61700", "tmpfs", store], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", store], check=True)
        server.up()
        server.deploy(VALUE.format(value="small"), "small")
        assert server.call("/v1/small/latest", [[1]]).status == 200
        folder = server.folder / "large"
        folder.mkdir()
        (folder / "model.py").write_text(VALUE.format(value="large"))
        (folder / "weights.bin").write_bytes(os.urandom(64 * 2**20))
        (folder / "hearth.toml").write_text('[model]\nname = "large"\nhandler = "model:predict"\n')
        out = server.hearth("deploy", folder, check=False)
        assert out.returncode == 1
        assert "no space left" in out.stderr and "free space" in out.stderr, out.stderr
        assert "large" not in {m["model"] for m in server.json("ls")["models"]}
        assert server.call("/v1/small/latest", [[1]]).status == 200
        assert not [p for p in store.rglob("*") if "tmp" in p.name], "no half-written objects"
    finally:
        server.down()
        subprocess.run(["umount", store], check=True)


def test_an_idle_replica_is_paused_and_the_next_call_just_works(server):
    server.deploy(PID, "idle", toml='[timeouts]\nidle_pause = "1s"\nidle_stop = "1h"\n')
    first = server.call("/v1/idle/latest", [[1]]).json()
    wait_until(lambda: [r["state"] for r in server.replicas("idle")] == ["paused"])
    replica, = server.replicas("idle")
    used = Path(f"/proc/{replica['pid']}/stat").read_text().split()[13:15]
    time.sleep(0.3)
    assert Path(f"/proc/{replica['pid']}/stat").read_text().split()[13:15] == used
    assert server.call("/v1/idle/latest", [[1]]).json() == first, "the same worker"


def test_an_idle_replica_is_stopped_in_the_end_and_the_next_call_just_works(server):
    server.deploy(PID, "stopped", toml='[timeouts]\nidle_pause = "500ms"\nidle_stop = "2s"\n')
    assert server.call("/v1/stopped/latest", [[1]]).status == 200
    pid = server.replicas("stopped")[0]["pid"]
    wait_until(lambda: not [r for r in server.replicas("stopped") if r["state"] in ("ready", "paused")])
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert server.call("/v1/stopped/latest", [[1]]).status == 200


def test_an_image_mounted_by_hand_shows_root_as_root(server):
    at = server.folder / "mounted"
    at.mkdir()
    server.hearth("image", "mount", "python", at)
    try:
        info = (at / "etc/passwd").stat()
        assert (info.st_uid, info.st_gid) == (0, 0)
        with pytest.raises(OSError):
            (at / "new").write_text("")
    finally:
        server.hearth("image", "umount", at)
    assert list(at.iterdir()) == []
