"""hearth image: what is imported comes out as it went in, and models can be built on it."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile

import pytest

from conftest import wait_until


def blob(folder, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(folder, "blobs/sha256", digest), "wb") as out:
        out.write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def layer(entries):
    """An uncompressed tar of (name, kind, attributes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, attributes in entries:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}[kind]
            info.mode = attributes.get("mode", 0o755 if kind == "dir" else 0o644)
            info.uid, info.gid = attributes.get("ids", (0, 0))
            info.mtime = attributes.get("mtime", 1_700_000_000)
            info.linkname = attributes.get("target", "")
            content = attributes.get("content", b"")
            info.size = len(content) if kind == "file" else 0
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def oci_layout(layers, tags=("v1",)):
    folder = tempfile.mkdtemp()
    os.makedirs(folder + "/blobs/sha256")
    described = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(folder, data)} for data in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["FROM_IMAGE=yes"]},
              "rootfs": {"type": "layers", "diff_ids": [d["digest"] for d in described]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": described,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(folder, json.dumps(config).encode())}}
    index = {"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": {"org.opencontainers.image.ref.name": tag},
         **blob(folder, json.dumps(manifest | {"annotations": {"for": tag}}).encode())}
        for tag in tags]}
    open(folder + "/index.json", "w").write(json.dumps(index))
    open(folder + "/oci-layout", "w").write('{"imageLayoutVersion": "1.0.0"}')
    return folder


def docker_archive(layers):
    """What `docker save` writes, in short."""
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]}}
    names = [f"{i}/layer.tar" for i in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
    file = tempfile.mkdtemp() + "/image.tar"
    with tarfile.open(file, "w") as tar:
        for name, data in [("config.json", json.dumps(config).encode()), *zip(names, layers), ("manifest.json", json.dumps(manifest).encode())]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


LOWER = layer([("./", "dir", {}), ("etc", "dir", {}), ("etc/kept", "file", {"content": b"kept", "ids": (1234, 4321), "mtime": 1_600_000_000.25}),
               ("etc/gone", "file", {"content": b"what goes"}), ("big-ids", "file", {"ids": (4_000_000_000, 65534)}),
               ("opaque", "dir", {}), ("opaque/below", "file", {})])
UPPER = layer([("etc/.wh.gone", "file", {}), ("opaque/.wh..wh..opq", "file", {}), ("opaque/above", "file", {"content": b"above"}),
               ("etc/twin", "hard", {"target": "etc/kept"}), ("etc/link", "link", {"target": "kept"})])


@pytest.fixture
def mounted(server):
    server.hearth("image", "import", f"oci:{oci_layout([LOWER, UPPER])}:v1", "corner-cases")
    folder = tempfile.mkdtemp()
    server.hearth("image", "mount", "corner-cases", folder, "--data-dir", server.data_dir)
    yield folder
    server.hearth("image", "umount", folder)
    os.rmdir(folder)


def test_layers_are_merged_exactly_and_mounted_with_the_ids_of_the_image(mounted):
    assert sorted(os.listdir(mounted)) == ["big-ids", "etc", "opaque"]
    assert sorted(os.listdir(mounted + "/etc")) == ["kept", "link", "twin"]
    assert os.listdir(mounted + "/opaque") == ["above"]
    kept = os.stat(mounted + "/etc/kept")
    assert (kept.st_uid, kept.st_gid, kept.st_mtime_ns, kept.st_nlink) == (1234, 4321, 1_600_000_000_250_000_000, 2)
    assert os.stat(mounted + "/etc/twin").st_ino == kept.st_ino
    assert os.readlink(mounted + "/etc/link") == "kept"
    assert os.stat(mounted + "/big-ids").st_uid == 4_000_000_000
    with pytest.raises(OSError):
        open(mounted + "/etc/new", "w")


def test_images_are_listed_and_inspected(server, mounted):
    assert "corner-cases" in {i["name"] for i in server.json("image", "ls")["images"]}
    assert server.json("image", "inspect", "corner-cases")["layer"]["digest"].startswith("sha256:")


BIG = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def related(server):
    """Two images that have a file in common, and a text that compresses."""
    common = layer([("common", "file", {"content": BIG}), ("twin", "file", {"content": BIG}), ("text", "file", {"content": b"x" * 4_000_000})])
    server.hearth("image", "import", f"oci:{oci_layout([common])}", "lender")
    server.hearth("image", "import", f"oci:{oci_layout([common, layer([('own', 'file', {'content': os.urandom(1_000_000)})])])}", "borrower")


def test_inspect_says_what_an_image_weighs_and_how_well_it_compresses(server, related):
    [weighed] = server.json("image", "inspect", "lender")["report"]["layers"]
    assert (weighed["files"], weighed["directories"]) == (3, 1)
    assert weighed["content_bytes"] == 2 * len(BIG) + 4_000_000
    assert weighed["unique_bytes"] < len(BIG) + 4_000_000, "equal content counts once"
    assert len(BIG) <= weighed["stored_bytes"] < len(BIG) + 100_000
    assert weighed["compression_ratio"] == pytest.approx(weighed["unique_bytes"] / weighed["stored_bytes"])


def test_inspect_says_what_images_share(server, related):
    shared = server.json("image", "inspect", "borrower")["report"]["layers"][0]["shared"]
    [lender] = [w for w in shared["with"] if w["users"] == ["image lender"]]
    assert len(BIG) <= lender["stored_bytes"] < len(BIG) + 100_000
    assert shared["any"]["stored_bytes"] == lender["stored_bytes"]
    assert 0 <= lender["stored_once_bytes"] <= lender["stored_bytes"]


def test_inspect_shows_the_start_profiles_of_an_image(make_server):
    server = make_server()
    server.hearth("image", "import", f"oci:{oci_layout([layer([('common', 'file', {'content': BIG})])])}", "read")
    assert server.json("image", "inspect", "read")["report"]["profiles"] == []
    server.down()  # the import had the layer mounted: only a start that mounts it is recorded
    server.up()
    folder = tempfile.mkdtemp()
    server.hearth("image", "mount", "read", folder, "--profile", "reader", "--data-dir", server.data_dir)
    try:
        assert open(folder + "/common", "rb").read() == BIG
        server.hearth("image", "recorded", "read", "--profile", "reader", "--data-dir", server.data_dir)
    finally:
        server.hearth("image", "umount", folder)
        os.rmdir(folder)
    if list((server.data_dir / "imagefs/layers").glob("*/tree")):
        pytest.skip("images are unpacked here: no reads, no profiles")
    [profile] = wait_until(lambda: server.json("image", "inspect", "read")["report"]["profiles"],
                           seconds=120)  # written when nothing else wants the processor
    assert (profile["key"], profile["starts"]) == ("reader", 1)
    assert profile["bundle"]["pages"] * 4096 >= len(BIG)
    assert profile["last"]["asked_bytes"] >= len(BIG)
    text = server.hearth("image", "inspect", "read").stdout
    assert "PRECISION" in text and "reader" in text


def test_inspect_is_readable(server, related):
    text = server.hearth("image", "inspect", "borrower").stdout
    for word in ("borrower", "LAYER", "RATIO", "SHARES", "image lender", "No start of this image was recorded yet."):
        assert word in text, text


def test_a_docker_archive_is_imported(server):
    server.hearth("image", "import", f"docker-archive:{docker_archive([LOWER])}", "from-archive")
    assert "from-archive" in {i["name"] for i in server.json("image", "ls")["images"]}


def test_a_broken_digest_is_refused_and_leaves_no_image(server):
    folder = oci_layout([LOWER])
    name = hashlib.sha256(LOWER).hexdigest()
    with open(f"{folder}/blobs/sha256/{name}", "wb") as file:
        file.write(LOWER.replace(b"what goes", b"what goat"))  # the content of a file: the tar itself stays well-formed
    out = server.hearth("image", "import", f"oci:{folder}", "broken", check=False)
    assert out.returncode == 1 and "digest" in out.stderr, out.stderr
    assert "broken" not in {i["name"] for i in server.json("image", "ls")["images"]}


def test_a_path_that_leaves_the_root_is_refused(server):
    out = server.hearth("image", "import", f"oci:{oci_layout([layer([('../escape', 'file', {})])])}", "escape", check=False)
    assert out.returncode == 1 and "escape" in out.stderr


def test_several_tags_and_none_named_is_refused_with_the_list(server):
    folder = oci_layout([LOWER], tags=("v1", "v2"))
    out = server.hearth("image", "import", f"oci:{folder}", "which", check=False)
    assert out.returncode == 1 and "v1" in out.stderr and "v2" in out.stderr


def test_a_model_runs_on_an_imported_image(server):
    rootfs = tempfile.mkdtemp()
    server.hearth("image", "mount", "python", rootfs, "--data-dir", server.data_dir)
    try:
        tar = subprocess.run(["tar", "-C", rootfs, "--numeric-owner", "-cf", "-", "."], check=True, capture_output=True).stdout
    finally:
        server.hearth("image", "umount", rootfs)
    server.hearth("image", "import", f"oci:{oci_layout([tar, layer([('from-import', 'file', {'content': b'here'})])])}", "my-python")
    server.deploy("import os\n\ndef predict():\n    return [open('/from-import').read(), os.environ.get('FROM_IMAGE')]\n", "on-import",
                  toml='\n[image]\nbase = "my-python"\n')
    assert server.call("/v1/on-import/latest", [[0]]).json() == {"data": [[0, ["here", "yes"]]]}
