"""Where the benchmark of lazy images keeps its things, and what all its parts agree on."""
import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("BENCH_LAZY_DIR", "/var/tmp/hearth-bench-lazy"))

OCI = CACHE / "oci"  # the image as an OCI layout, tag `gz`; oci/done says that it is whole
TAG = "gz"
TREE = CACHE / "tree"  # the same image unpacked on ext4
STATE = CACHE / "state"  # of the row that runs; removed after it
RAM = CACHE / "ram"  # tmpfs: what the servers serve
PROGRAMS = ROOT / "build" / "bench"  # built by CMake

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}
WORKLOADS = {"tf": ["python3", "/app/tf.py"], "sk": ["python3", "/app/sk.py"]}
