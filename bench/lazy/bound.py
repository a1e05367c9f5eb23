"""Which bytes of the image a workload really touches, page by page, and what they weigh as one zstd stream: the least
that any lazy start could fetch.

The tree is put into an ext4 image on a loop device without read-ahead; after a cold start mincore(2) tells each page touched.
"""
import os
import subprocess

from cold import first_answer
from machine import Failed, clear, drop_caches, limit, overlay, run
from places import CACHE, PROGRAMS, STATE, TREE, WORKLOADS
from steady import Tree

IMAGE = CACHE / "bound.ext4"
PATIENCE_S = 900


def make_image(tree):
    if (CACHE / "bound.done").exists():
        return
    size = int(tree.bytes * 1.15) + len(tree.all) * 4096 + (256 << 20)
    IMAGE.unlink(missing_ok=True)
    run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-N", len(tree.all) * 2, "-d", TREE / "rootfs", IMAGE, f"{size >> 10}k"], timeout=PATIENCE_S)
    (CACHE / "bound.done").touch()


def compressed(root, runs):
    """Bytes of all runs as one zstd -3 stream."""
    out = STATE / "bound.zst"
    with open(out, "wb") as file:
        zstd = subprocess.Popen(["zstd", "-3", "-c"], stdin=subprocess.PIPE, stdout=file)
        for path, offset, length in runs:
            with open(os.path.join(root, path), "rb") as source:
                source.seek(offset)
                zstd.stdin.write(source.read(length))
        zstd.stdin.close()
        if zstd.wait():
            raise Failed("zstd failed")
    return out.stat().st_size


def measure(work, tree, containers):
    clear(STATE)
    mounted = STATE / "image"
    mounted.mkdir()
    loop = run(["losetup", "--find", "--show", "--read-only", "--direct-io=on", IMAGE]).strip()
    try:
        run(["blockdev", "--setra", "0", loop])
        run(["mount", "-t", "ext4", "-o", "ro,noload", loop, mounted])
        drop_caches()
        seconds = first_answer(containers.start(overlay(mounted, STATE / "overlay"), WORKLOADS[work]))
        lines = run([PROGRAMS / "reader", "touched"], cwd=mounted, input="\n".join(tree.files) + "\n", timeout=PATIENCE_S).splitlines()
        runs = [(path, int(offset), int(length)) for path, offset, length in (line.split("\t") for line in lines)]
        return {"seconds_without_readahead": seconds, "files": len({r[0] for r in runs}), "bytes": sum(r[2] for r in runs),
                "zstd_bytes": compressed(TREE / "rootfs", runs), "image_bytes": tree.bytes, "image_files": len(tree.files)}
    finally:
        clear(STATE)
        subprocess.run(["losetup", "-d", loop], check=False)


def run_part(containers, works, results):
    for work in works:
        where = {"part": "bound", "work": work}
        try:
            with limit(PATIENCE_S, "bound"):
                tree = Tree(TREE / "rootfs")
                make_image(tree)
                results.add(where | measure(work, tree, containers))
        except (Failed, OSError) as e:
            results.add(where | {"failed": str(e)[:800]})
