#!/usr/bin/env python3
"""Builds the large real image that the lazy benchmark starts: an OCI layout with four gzip layers, tag `gz`.

Debian with python3 · tensorflow-cpu · scikit-learn, pandas, xgboost, onnxruntime · an app with two small models.
Packages come with this machine's own settings for apt and pip. It is built once and kept; each step is kept as well.
Times of files are exact and every .pyc fits its source: a benchmark of stale bytecode measures the compiler.

  bench/lazy/image.py [--force]
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

from layout import write_image
from places import CACHE, ENVIRONMENT, HERE, OCI

BUILD = CACHE / "build"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
TENSORFLOW = ["tensorflow-cpu==2.21.0"]
OTHERS = ["scikit-learn==1.9.1", "pandas==3.1.1", "xgboost==3.2.0", "onnxruntime==1.31.1"]
PYTHON = "/usr/bin/python3"


def sh(command, **options):
    """Runs a command, given as words or as a line for bash; its failure ends the build."""
    words = ["bash", "-euo", "pipefail", "-c", command] if isinstance(command, str) else [str(w) for w in command]
    return subprocess.run(words, check=True, **options)


# --- the four trees


def apt_options():
    """Proxies and the like of this machine, in a file that mmdebstrap takes."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    lines = [l for l in dump.splitlines() if re.match(r'Acquire::(https?|Retries)\b.* ".', l)]
    file = BUILD / "apt.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


def apt_sources(codename):
    """The files that name this distribution's own suite."""
    folder = pathlib.Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return [f for f in files if f.is_file() and re.search(rf"(?m)^(Suites:|deb )(.*\s)?{codename}(\s|$)", f.read_text())]


def base(tree):
    codename = re.search(r"VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text())[1]
    sh(["mmdebstrap", "--mode=root", "--variant=minbase", "--include=python3", f"--aptopt={apt_options()}",
        codename, tree, *apt_sources(codename)])
    shutil.rmtree(tree / "dev")  # nodes of the host; a runtime mounts its own
    (tree / "dev").mkdir()


def pip_install(tree, packages, constraints=None):
    venv = BUILD / "venv"
    if not (venv / "bin/pip").exists():
        sh([PYTHON, "-m", "venv", "--clear", venv])
    target = tree / PACKAGES
    sh([venv / "bin/pip", "install", "-q", "--no-compile", "--target", target, *packages, *(["-c", constraints] if constraints else [])])
    return target


def compile_bytecode(tree):
    """With the paths that the files have inside the image."""
    sh([PYTHON, "-m", "compileall", "-q", "-j", "2", "-s", tree, "-p", "/", tree / PACKAGES], stdout=subprocess.DEVNULL)


def versions(*trees):
    paths = [word for tree in trees for word in ("--path", tree / PACKAGES)]
    out = sh([BUILD / "venv/bin/pip", "freeze", *paths], capture_output=True, text=True)
    return out.stdout


def tensorflow(tree):
    pip_install(tree, TENSORFLOW)
    compile_bytecode(tree)


def others(tree):
    below = BUILD / "tensorflow"
    constraints = BUILD / "constraints.txt"
    constraints.write_text(versions(below))
    target = pip_install(tree, OTHERS, constraints)
    for path in target.iterdir():  # what both need stays in the lower layer alone
        if (below / PACKAGES / path.name).exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    compile_bytecode(tree)


@contextlib.contextmanager
def joined_tree():
    """All layers so far as one tree in which programs run, in a mount namespace of the caller's child."""
    root = BUILD / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for layer in ("base", "tensorflow", "others"):
        sh(["cp", "-al", f"{BUILD / layer}/.", root])
    try:
        yield root
    finally:
        shutil.rmtree(root)


def app(tree):
    (tree / "app").mkdir(parents=True)
    for file in HERE.glob("app/*.py"):
        shutil.copy2(file, tree / "app")
    with joined_tree() as root:
        sh(["cp", "-a", f"{tree}/.", root])
        environment = " ".join(f"{k}={v}" for k, v in ENVIRONMENT.items())
        inside = (f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; mount --rbind /sys {root}/sys; "
                  f"chroot {root} /usr/bin/env -i {environment} PYTHONDONTWRITEBYTECODE=1 python3 /app/make_models.py")
        sh(["unshare", "-m", "--propagation", "private", "bash", "-euc", inside])
        for file in root.glob("app/model.*"):
            shutil.copy2(file, tree / "app")


LAYERS = {"base": base, "tensorflow": tensorflow, "others": others, "app": app}


def make_tree(name):
    tree, done = BUILD / name, BUILD / f"{name}.done"
    if done.exists():
        return tree
    print(f"image: making {name} …", file=sys.stderr, flush=True)
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    LAYERS[name](tree)
    done.touch()
    return tree


def stale_bytecode(tree):
    """Bytecode files whose recorded time or size is not their source's."""
    found = []
    for pyc in tree.rglob("__pycache__/*.cpython-311.pyc"):
        source = pyc.parent.parent / (pyc.name.split(".")[0] + ".py")
        if source.is_file() and not source.is_symlink():
            with open(pyc, "rb") as file:
                head, info = file.read(16), source.stat()
            written = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
            if head[4:8] == bytes(4) and written != (int(info.st_mtime) & 0xFFFFFFFF, info.st_size & 0xFFFFFFFF):
                found.append(pyc)
    return found


def build(force=False):
    if (OCI / "done").exists() and not force:
        return
    if force:
        shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    (OCI / "done").unlink(missing_ok=True)
    trees = {name: make_tree(name) for name in LAYERS}
    stale = [p for tree in trees.values() for p in stale_bytecode(tree)]
    if stale:
        sys.exit(f"image: {len(stale)} bytecode files do not fit their sources, for instance {stale[0]}")
    write_image(OCI, trees)
    (CACHE / "versions.txt").write_text(versions(BUILD / "tensorflow", BUILD / "others"))
    (OCI / "done").touch()


if __name__ == "__main__":
    os.umask(0o022)
    build(force="--force" in sys.argv)
    print(OCI)
