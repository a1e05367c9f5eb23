"""hearth image import of what was imported before: nothing is copied that is known, and nothing is known that is gone."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT
from test_images import docker_archive, layer, oci_layout

PART = 4 << 20


@pytest.fixture(scope="module")
def server(make_server):
    """Unpacks layers, so that no lease of a mounted layer keeps what is to be collected; collects when a test asks for it."""
    return make_server("--image-backend", "unpack", env={"HEARTH_NODE_GC_EVERY": "0"})


class Registry:
    """Serves a folder of layouts as one repository: any name, tags as put() sets them."""

    def __init__(self):
        self.layout = Path(tempfile.mkdtemp())
        (self.layout / "blobs/sha256").mkdir(parents=True)
        (self.layout / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
        self.process = subprocess.Popen([sys.executable, ROOT / "tests/fakes/registry.py", self.layout], stdout=subprocess.PIPE, text=True)
        self.host = "127.0.0.1:" + self.process.stdout.readline().split()[1]

    def put(self, tag, content):
        """The tag stands for an image of one file from now on; returns the digits of its manifest."""
        made = Path(oci_layout([layer([("content", "file", {"content": content})])], tags=(tag,)))
        shutil.copytree(made / "blobs", self.layout / "blobs", dirs_exist_ok=True)
        [manifest] = json.loads((made / "index.json").read_text())["manifests"]
        index = json.loads((self.layout / "index.json").read_text())
        index["manifests"] = [m for m in index["manifests"] if m["annotations"] != manifest["annotations"]] + [manifest]
        (self.layout / "index.json").write_text(json.dumps(index))
        return manifest["digest"].removeprefix("sha256:")

    def forget_all_but(self, manifest):
        for blob in (self.layout / "blobs/sha256").iterdir():
            if blob.name != manifest:
                blob.unlink()

    def stop(self):
        (self.layout / "stop").touch()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        shutil.rmtree(self.layout)


@pytest.fixture
def registry():
    registry = Registry()
    yield registry
    registry.stop()


def import_tag(server, registry, tag, name, check=True):
    return server.hearth("image", "import", f"docker://{registry.host}/team/app:{tag}", name, check=check)


def layer_of(server, name):
    return server.json("image", "inspect", name)["layer"]["digest"]


def content_of(server, name, path="content"):
    folder = tempfile.mkdtemp()
    server.hearth("image", "mount", name, folder, "--data-dir", server.data_dir)
    try:
        return Path(folder, path).read_bytes()
    finally:
        server.hearth("image", "umount", folder)
        os.rmdir(folder)


def test_a_second_import_of_a_tag_copies_nothing(server, registry):
    manifest = registry.put("known", b"what is known")
    import_tag(server, registry, "known", "known-first")
    registry.forget_all_but(manifest)  # whatever else is asked for now is not there
    import_tag(server, registry, "known", "known-again")
    assert layer_of(server, "known-again") == layer_of(server, "known-first")
    assert content_of(server, "known-again") == b"what is known"
    [image] = [i for i in server.json("image", "ls")["images"] if i["name"] == "known-again"]
    assert image["source"] == f"docker://{registry.host}/team/app:known"


def test_a_tag_that_moved_is_noticed(server, registry):
    registry.put("moving", b"before")
    import_tag(server, registry, "moving", "moving")
    registry.put("moving", b"after")
    import_tag(server, registry, "moving", "moving")
    assert content_of(server, "moving") == b"after"


def test_a_tag_whose_layers_were_collected_is_imported_again(server, registry):
    registry.put("collected", b"what will be gone")
    registry.put("other", b"what takes its name")
    import_tag(server, registry, "collected", "collected")
    digest = layer_of(server, "collected")
    import_tag(server, registry, "other", "collected")
    server.hearth("store", "gc", "--grace", "0", "--wait")
    index = server.data_dir / "store/ws/default/layers" / digest.removeprefix("sha256:")
    assert not index.exists()
    import_tag(server, registry, "collected", "collected-again")
    assert layer_of(server, "collected-again") == digest and index.exists()
    assert content_of(server, "collected-again") == b"what will be gone"


def test_a_record_of_a_layer_that_is_lost_is_not_believed(server, registry):
    registry.put("lost", b"what will be lost")
    import_tag(server, registry, "lost", "lost")
    index = server.data_dir / "store/ws/default/layers" / layer_of(server, "lost").removeprefix("sha256:")
    index.unlink()
    import_tag(server, registry, "lost", "lost")
    assert index.exists()
    assert content_of(server, "lost") == b"what will be lost"


def test_a_tag_that_does_not_exist_is_said(server, registry):
    registry.put("there", b"x")
    out = import_tag(server, registry, "not-there", "nothing", check=False)
    assert out.returncode != 0 and "manifest unknown" in out.stderr, out.stderr


def test_an_uploaded_layout_of_many_parts_comes_back_whole(server):
    content = random.Random(11).randbytes(2 * PART + 12_345)
    layout = oci_layout([layer([("first", "file", {"content": content}), ("second", "file", {"content": b"small"})]),
                         layer([("third", "file", {"content": content[::-1]})])])
    server.hearth("image", "import", f"oci:{layout}", "many-parts")
    assert hashlib.sha256(content_of(server, "many-parts", "first")).digest() == hashlib.sha256(content).digest()
    assert content_of(server, "many-parts", "third") == content[::-1]


def test_a_second_import_of_a_layout_leaves_the_store_as_it_was(server):
    layout = oci_layout([layer([("content", "file", {"content": random.Random(12).randbytes(PART)})])])
    folders = [server.data_dir / "store/ws/default" / kind for kind in ("layers", "packs", "uploads", "imports")]
    server.hearth("image", "import", f"oci:{layout}", "twice-first")
    before = [sorted(p.name for p in folder.rglob("*")) for folder in folders]
    server.hearth("image", "import", f"oci:{layout}", "twice-again")
    assert [sorted(p.name for p in folder.rglob("*")) for folder in folders] == before
    assert layer_of(server, "twice-again") == layer_of(server, "twice-first")


def test_the_layers_of_a_layout_that_is_known_are_neither_read_nor_sent(server):
    data = layer([("content", "file", {"content": random.Random(13).randbytes(PART)})])
    layout = oci_layout([data])
    server.hearth("image", "import", f"oci:{layout}", "sent")
    server.hearth("store", "gc", "--grace", "0", "--wait")
    uploads = server.data_dir / "store/ws/default/uploads"
    assert list(uploads.iterdir()) == []
    Path(layout, "blobs/sha256", hashlib.sha256(data).hexdigest()).write_bytes(bytes(len(data)))
    server.hearth("image", "import", f"oci:{layout}", "not-sent")
    assert layer_of(server, "not-sent") == layer_of(server, "sent")
    assert max(part.stat().st_size for part in uploads.iterdir()) < PART


def test_a_layout_whose_layers_are_lost_is_sent_again(server):
    layout = oci_layout([layer([("content", "file", {"content": random.Random(14).randbytes(PART)})])])
    server.hearth("image", "import", f"oci:{layout}", "sent-first")
    index = server.data_dir / "store/ws/default/layers" / layer_of(server, "sent-first").removeprefix("sha256:")
    index.unlink()
    server.hearth("image", "import", f"oci:{layout}", "sent-again")
    assert index.exists()
    assert content_of(server, "sent-again") == random.Random(14).randbytes(PART)


def test_a_docker_archive_that_is_known_is_neither_read_nor_sent(server):
    content = random.Random(16).randbytes(PART)
    archive = Path(docker_archive([layer([("content", "file", {"content": content})])]))
    server.hearth("image", "import", f"docker-archive:{archive}", "archive")
    server.hearth("store", "gc", "--grace", "0", "--wait")
    uploads = server.data_dir / "store/ws/default/uploads"
    assert list(uploads.iterdir()) == []
    archive.write_bytes(archive.read_bytes().replace(content, bytes(PART)))
    server.hearth("image", "import", f"docker-archive:{archive}", "archive-again")
    assert layer_of(server, "archive-again") == layer_of(server, "archive")
    assert list(uploads.iterdir()) == []


def test_a_docker_archive_whose_layer_is_lost_is_sent_again(server):
    content = random.Random(17).randbytes(PART)
    archive = docker_archive([layer([("content", "file", {"content": content})])])
    server.hearth("image", "import", f"docker-archive:{archive}", "archive-lost")
    (server.data_dir / "store/ws/default/layers" / layer_of(server, "archive-lost").removeprefix("sha256:")).unlink()
    server.hearth("image", "import", f"docker-archive:{archive}", "archive-sent-again")
    assert content_of(server, "archive-sent-again") == content


def test_a_tag_that_a_layout_does_not_have_is_said_before_anything_is_sent(server):
    layout = oci_layout([layer([("content", "file", {"content": random.Random(15).randbytes(PART)})])], tags=("v1",))
    uploads = server.data_dir / "store/ws/default/uploads"
    before = {part.name for part in uploads.iterdir()}
    out = server.hearth("image", "import", f"oci:{layout}:v2", "wrong-tag", check=False)
    assert out.returncode != 0 and "'v1'" in out.stderr, out.stderr
    assert all(part.stat().st_size < PART for part in uploads.iterdir() if part.name not in before)
