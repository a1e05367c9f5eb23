"""hearth store du|gc|verify: nothing that is needed is ever collected, everything else is, and damage is found."""

import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import Server, wait_until
from test_images import layer, oci_layout

MODEL = """
import hashlib, pathlib
def predict():
    data = pathlib.Path("/model/data.bin")
    return [{value!r}, hashlib.sha256(data.read_bytes()).hexdigest() if data.exists() else ""]
"""
ARTIFACT = '[artifacts]\n"data.bin" = "data.bin"\n'
QUIET = {"HEARTH_NODE_GC_EVERY": "0"}  # no collection but those a test asks for


@pytest.fixture(scope="module")
def server(make_server):
    """Unpacks layers, so that no lease of a mounted layer stands in the way of what is to be seen here."""
    return make_server("--image-backend", "unpack", env=QUIET)


def store_of(server):
    return server.data_dir / "store"


def objects(server, folder):
    root = store_of(server) / folder
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}


def deploy(server, name, value, data=None, **kwargs):
    files = {"data.bin": data} if data else {}
    return server.deploy(MODEL.format(value=value), name, toml=ARTIFACT if data else "", files=files, **kwargs)


def import_image(server, name, files):
    """An image of these files alone; returns the digits of its layer."""
    entries = [("./", "dir", {}), *((path, "file", {"content": content}) for path, content in files.items())]
    server.hearth("image", "import", f"oci:{oci_layout([layer(entries)])}", name)
    return server.json("image", "inspect", name)["layer"]["digest"].removeprefix("sha256:")


def collect(server, *args):
    return server.json("store", "gc", "--grace", "0", "--wait", *args)


def test_du_says_where_the_bytes_are(server):
    weights = random.Random(1).randbytes(3 << 20)
    for name in ("du-one", "du-two"):
        deploy(server, name, name, weights)
    usage = server.json("store", "du")
    for scope in usage["scopes"]:
        assert scope["total"]["bytes"] == sum(kind["bytes"] for kind in scope["kinds"].values())
        there = objects(server, scope["scope"])
        assert scope["total"] == {"objects": len(there), "bytes": sum(there.values())}
        packs = objects(server, scope["scope"] + "/packs")
        assert scope["kinds"]["packs"] == {"objects": len(packs), "bytes": sum(packs.values())}
    owners = {owner["name"]: owner for owner in usage["owners"]}
    one, two = owners["model du-one"], owners["model du-two"]
    assert one["versions"] == two["versions"] == 1
    assert one["content_bytes"] > 3 << 20
    assert one["stored_bytes"] < one["content_bytes"], "the base is compressed"
    assert one["own_bytes"] < 1 << 20, "the weights and the base belong to both"
    assert usage["stored_bytes"] < one["stored_bytes"] + two["stored_bytes"], "what they share is counted once"
    assert usage["content_bytes"] == sum(owner["content_bytes"] for owner in usage["owners"])
    text = server.hearth("store", "du").stdout
    assert "model du-one" in text and "packs" in text and "save" in text


def test_gc_frees_what_nothing_refers_to_and_keeps_the_rest(server):
    kept = deploy(server, "gc-kept", "kept", random.Random(2).randbytes(2 << 20))
    deploy(server, "gc-gone", "gone", random.Random(3).randbytes(2 << 20))
    collect(server)
    before = objects(server, "ws/default/packs")
    server.hearth("rm", "gc-gone", "--yes")
    dry = server.json("store", "gc", "--grace", "0", "--dry-run")
    assert dry["dry_run"] and dry["condemned"]["bytes"] >= 2 << 20
    assert objects(server, "ws/default/packs") == before, "a dry run deletes nothing"
    done = collect(server)
    assert done["deleted"]["bytes"] >= 2 << 20 and done["condemned"]["objects"] == 0
    after = objects(server, "ws/default/packs")
    assert set(after) < set(before)
    assert objects(server, "ws/default/uploads") == {}
    assert objects(server, "ws/default/condemned") == objects(server, "ws/default/intents") == {}
    assert server.json("store", "du")["scopes"][0]["garbage"]["objects"] == 0
    assert server.call(kept["url"], []).json()["data"][0] == "kept"
    assert server.hearth("store", "verify", "--deep").returncode == 0


def test_content_that_images_share_is_stored_once(server):
    shared, more = random.Random(9).randbytes(3 << 20), random.Random(10).randbytes(100_000)
    one = import_image(server, "share-one", {"here": shared})
    before = objects(server, "ws/default/packs")
    two = import_image(server, "share-two", {"there/elsewhere": shared, "more": more})
    assert one != two
    added = sum(objects(server, "ws/default/packs").values()) - sum(before.values())
    assert len(more) <= added < len(more) + 50_000
    assert set(before) <= set(objects(server, "ws/default/packs"))
    owners = {owner["name"]: owner for owner in server.json("store", "du")["owners"]}
    assert owners["image share-one"]["own_bytes"] < 50_000, "its index: the content is the other's too"
    assert server.hearth("store", "verify", "--deep").returncode == 0


def test_what_was_condemned_and_is_deployed_again_stays(server):
    data = random.Random(4).randbytes(1 << 20)
    deploy(server, "again", 1, data)
    server.hearth("rm", "again", "--yes")
    first = server.json("store", "gc", "--grace", "1h")
    assert first["condemned"]["objects"] > 0 and first["deleted"]["objects"] == 0
    again = deploy(server, "again", 1, data)
    collect(server)
    assert server.json("store", "verify", "--deep")["broken"] == 0
    assert server.call(again["url"], []).json()["data"][0] == 1


def test_the_grace_is_kept(server):
    deploy(server, "grace", 1, random.Random(5).randbytes(1 << 20))
    collect(server)
    server.hearth("rm", "grace", "--yes")
    packs = objects(server, "ws/default/packs")
    for _ in range(2):
        report = server.json("store", "gc", "--grace", "30m")
    assert report["deleted"]["objects"] == 0 and report["waiting"]["objects"] > 0
    assert 0 < report["ripe_in_seconds"] <= 1800
    assert objects(server, "ws/default/packs") == packs
    collect(server)
    assert objects(server, "ws/default/packs") != packs


def test_wrong_use_is_said(server):
    out = server.hearth("store", "gc", "--grace", "soon", check=False)
    assert out.returncode == 2 and "grace" in out.stderr


@pytest.fixture
def damaged(server):
    """A model with the largest pack of all, and a way to damage what it needs that is mended afterwards."""
    result = deploy(server, "damaged", 1, random.Random(6).randbytes(5 << 20))
    collect(server)
    changed = []

    def change(path, bytes_or_none):
        changed.append((path, path.read_bytes()))
        path.unlink() if bytes_or_none is None else path.write_bytes(bytes_or_none)

    yield result, change
    for path, before in reversed(changed):
        path.write_bytes(before)
        os.chown(path, 61700, 61700)
    assert server.hearth("store", "verify", "--deep", check=False).returncode == 0


def largest_pack(server):
    return max((store_of(server) / "ws/default/packs").iterdir(), key=lambda p: p.stat().st_size)


def test_verify_finds_a_flipped_byte_when_it_looks_deeply(server, damaged):
    _, change = damaged
    pack = largest_pack(server)
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    change(pack, bytes(data))
    assert server.hearth("store", "verify").returncode == 0, "sizes are right"
    out = server.hearth("store", "verify", "--deep", "--json", check=False)
    assert out.returncode == 1
    problems = json.loads(out.stdout)["problems"]
    assert {p["object"] for p in problems} == {"ws/default/packs/" + pack.name}
    assert any("model damaged" in user for user in problems[0]["used_by"])


def test_verify_finds_a_missing_pack(server, damaged):
    _, change = damaged
    pack = largest_pack(server)
    change(pack, None)
    out = server.hearth("store", "verify", check=False)
    assert out.returncode == 1 and pack.name in out.stdout and "missing" in out.stdout and "model damaged" in out.stdout


def test_verify_finds_a_cut_pack_and_a_broken_index(server, damaged):
    result, change = damaged
    pack = largest_pack(server)
    change(pack, pack.read_bytes()[:-1])
    record = json.loads((store_of(server) / f"ws/default/models/damaged/main/versions/{result['version']}.json").read_text())
    layer = record["image"]["layers"][-1]["digest"].removeprefix("sha256:")
    index = store_of(server) / "ws/default/layers" / layer
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    change(index, bytes(data))
    out = server.hearth("store", "verify", "--json", check=False)
    assert out.returncode == 1
    found = {p["object"] for p in json.loads(out.stdout)["problems"]}
    assert {"ws/default/packs/" + pack.name, "ws/default/layers/" + layer} <= found


def test_gc_does_nothing_when_a_root_cannot_be_read(server, damaged):
    _, change = damaged
    deploy(server, "unread", 1)  # no collection has seen its record, which never changes, until now
    change(store_of(server) / "ws/default/models/unread/main/versions/1.json", b'{"format":9}')
    before = objects(server, "ws/default")
    out = server.hearth("store", "gc", "--grace", "0", check=False)
    assert out.returncode == 1 and "versions/" in out.stderr
    assert objects(server, "ws/default") == before


def test_a_node_collects_by_itself(make_server):
    server = make_server("--image-backend", "unpack",
                         env={"HEARTH_NODE_GC_EVERY": "1s", "HEARTH_NODE_GC_GRACE": "1s"})
    kept = deploy(server, "kept", 1, random.Random(7).randbytes(1 << 20))
    deploy(server, "gone", 1, random.Random(8).randbytes(1 << 20))
    server.hearth("rm", "gone", "--yes")
    wait_until(lambda: sum(objects(server, "ws/default/packs").values()) < 2 << 20, 60)
    assert server.call(kept["url"], []).json()["data"][0] == 1
    assert server.hearth("store", "verify", "--deep").returncode == 0


@pytest.mark.parametrize("backend, check", [("erofs", "erofs on demand"), ("fuse", "fuse")])
def test_what_is_mounted_can_be_read_to_its_end_although_nothing_refers_to_it_any_more(server, make_server, tmp_path, backend, check):
    """Much of the layer was never read before its image went; a new imagefs holds on to it as the killed one did."""
    doctor = json.loads(server.hearth("doctor", "--data-dir", server.data_dir, "--json", check=False).stdout)
    able = next(found for found in doctor["checks"] if found["check"] == check)
    if not able["ok"]:
        pytest.skip(able["found"])
    server = make_server("--image-backend", backend, env=QUIET)
    content = {f"file-{i}": random.Random(i).randbytes(5 << 20) for i in range(3)}
    old = import_image(server, "moving", content)
    packs = objects(server, "ws/default/packs")
    server.hearth("image", "mount", "moving", tmp_path, "--data-dir", server.data_dir)
    try:
        with open(tmp_path / "file-0", "rb") as file:
            assert file.read(1000) == content["file-0"][:1000]
        leases = store_of(server) / "ws/default/leases"
        wait_until(lambda: any(old in path.read_text() for path in leases.rglob("*") if path.is_file()))
        import_image(server, "moving", {"file": b"another image"})
        for _ in range(2):
            report = server.json("store", "gc", "--grace", "0")
        assert sum(scope["spared"]["objects"] for scope in report["scopes"]) > 0, "garbage but for the lease"
        assert old in objects(server, "ws/default/layers") and set(packs) <= set(objects(server, "ws/default/packs"))
        os.kill(server.pid_of("imagefs"), signal.SIGKILL)
        for name, data in content.items():
            assert hashlib.sha256((tmp_path / name).read_bytes()).digest() == hashlib.sha256(data).digest()
    finally:
        server.hearth("image", "umount", tmp_path)


def test_deployments_removals_and_collections_side_by_side_lose_nothing(make_server):
    """Few different contents, so that what one deployment finds is what was just condemned for another."""
    server = make_server("--image-backend", "unpack", env=QUIET)
    contents = [random.Random(100 + i).randbytes(300_000) for i in range(3)]
    alive, failures, done = {}, [], threading.Event()
    lock = threading.Lock()

    def guarded(work, seed):
        try:
            work(random.Random(seed))
        except Exception as error:  # told by the test itself
            failures.append(error)

    def deployer(name, rng):
        for i in range(5):
            content = rng.randrange(3)
            result = deploy(server, name, f"{name}-{content}", contents[content])
            with lock:
                alive[(name, result["version"])] = (f"{name}-{content}", result["url"])

    def remover(rng):
        while not done.is_set():
            with lock:
                model, version = rng.choice(sorted(alive)) if len(alive) > 3 else (None, None)
                if model:
                    del alive[(model, version)]
            if model:
                server.hearth("rm", model, "--version", version, "--yes")
            time.sleep(0.2)

    def collector(rng):
        while not done.is_set():
            server.hearth("store", "gc", "--grace", "0")

    deployers = [threading.Thread(target=guarded, args=(lambda rng, n=n: deployer(n, rng), i)) for i, n in enumerate(("one", "two"))]
    others = [threading.Thread(target=guarded, args=(work, 10 + i)) for i, work in enumerate((remover, collector, collector))]
    for thread in deployers + others:
        thread.start()
    for thread in deployers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert not failures, failures
    collect(server)
    assert server.json("store", "verify", "--deep")["broken"] == 0
    assert server.json("store", "du")["scopes"][0]["garbage"]["objects"] == 0
    server.down()

    fresh = Server(tempfile.mkdtemp(prefix="hearth-e2e-"), "--image-backend", "unpack", "--store", store_of(server))
    try:
        fresh.env |= QUIET
        fresh.up()
        there = {(m["model"], v["version"]) for m in fresh.json("ls")["models"] for v in m["versions"]}
        assert there == set(alive)
        for (model, version), (value, _) in sorted(alive.items()):
            assert fresh.call(f"/v1/{model}/{version}", []).json()["data"][0] == value
    finally:
        fresh.down()
        shutil.rmtree(fresh.folder, ignore_errors=True)
