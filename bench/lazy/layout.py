"""Writes folders as the layers of an image: an OCI layout with tag `gz`."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

from places import ENVIRONMENT, TAG

CREATED = "2026-01-01T00:00:00Z"
OCI_TYPE = "application/vnd.oci.image"


def put_json(folder, value):
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def put_layer(folder, tree, gzip_level):
    """The tree as gzip(tar): plain GNU tar, so that times keep their nanoseconds and the archive ends as it should."""
    draft, plain = folder / "draft", hashlib.sha256()
    tar = subprocess.Popen(["tar", "--sort=name", "--format=pax", "--numeric-owner", "-C", tree, "-cf", "-", "."], stdout=subprocess.PIPE)
    with open(draft, "wb") as out:
        gzip = subprocess.Popen(["gzip", "-n", f"-{gzip_level}"], stdin=subprocess.PIPE, stdout=out)
        while data := tar.stdout.read(1 << 20):
            plain.update(data)
            gzip.stdin.write(data)
        gzip.stdin.close()
        if tar.wait() or gzip.wait():
            sys.exit(f"cannot pack {tree}")
    with open(draft, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = draft.stat().st_size
    draft.rename(folder / "blobs/sha256" / digest)
    return {"mediaType": f"{OCI_TYPE}.layer.v1.tar+gzip", "digest": f"sha256:{digest}", "size": size}, f"sha256:{plain.hexdigest()}"


def write_image(folder, trees, gzip_level=6):
    """`trees` are folders by name, lowest first. `folder` is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "blobs/sha256").mkdir(parents=True)
    layers = []
    for name, tree in trees.items():
        layers.append((name, *put_layer(folder, tree, gzip_level)))
    finish(folder, layers)


def read_image(folder):
    """Its layers as write_image made them: (name, descriptor, diff_id)."""
    def blob(descriptor):
        return json.loads((folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_text())

    manifest = blob(json.loads((folder / "index.json").read_text())["manifests"][0])
    config = blob(manifest["config"])
    names = [h["created_by"] for h in config["history"]]
    return list(zip(names, manifest["layers"], config["rootfs"]["diff_ids"]))


def write_with_other_top(folder, original, name, tree):
    """The original's image with another tree as its highest layer; the blobs below are shared."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "blobs/sha256").mkdir(parents=True)
    layers = read_image(original)[:-1]
    for _, layer, _ in layers:
        digest = layer["digest"].removeprefix("sha256:")
        os.link(original / "blobs/sha256" / digest, folder / "blobs/sha256" / digest)
    finish(folder, [*layers, (name, *put_layer(folder, tree, 6))])


def finish(folder, layers):
    config = put_json(folder, {
        "architecture": "amd64", "os": "linux", "created": CREATED,
        "config": {"Cmd": ["python3", "/app/tf.py"], "Env": [f"{k}={v}" for k, v in ENVIRONMENT.items()]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id in layers]},
        "history": [{"created": CREATED, "created_by": name} for name, _, _ in layers],
    })
    manifest = put_json(folder, {
        "schemaVersion": 2, "mediaType": f"{OCI_TYPE}.manifest.v1+json",
        "config": {"mediaType": f"{OCI_TYPE}.config.v1+json", **config}, "layers": [layer for _, layer, _ in layers],
    })
    index = {"schemaVersion": 2, "manifests": [
        {"mediaType": f"{OCI_TYPE}.manifest.v1+json", **manifest, "annotations": {"org.opencontainers.image.ref.name": TAG}}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
