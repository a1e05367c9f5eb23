"""Every object store behaves alike: one suite (src/blob/testing) on a directory, on S3 and on GCS, and with faults between."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MAX_BYTES = 6 << 30  # a test that goes wrong must not take the machine with it
PROGRAM = ROOT / "build/src/blob/testing/store_conformance"
sys.path += [str(ROOT / "tests/fakes"), str(ROOT / "tests/stores")]

from fault_proxy import FaultProxy  # noqa: E402
from servers import KINDS  # noqa: E402


def cases():
    """The names of all cases of the program; collected once, so that each is a test of its own here."""
    if not PROGRAM.exists():
        return ["(the program is not built)"]
    text = subprocess.run([PROGRAM, "--gtest_list_tests"], capture_output=True, text=True, check=True).stdout
    names, suite = [], ""
    for line in text.splitlines():
        if line.startswith("  "):
            names.append(suite + line.strip())
        elif line.endswith("."):
            suite = line.strip()
    return names


@pytest.fixture(scope="module", params=["s3", "gcs"])
def server(request):
    with KINDS[request.param]() as running, FaultProxy(running.port) as proxy:
        running.make_bucket("hearth-tests")
        running.proxy = proxy
        yield running


@pytest.mark.parametrize("case", cases())
def test_the_store_keeps_its_promise(server, case):
    times = "connect-timeout=2s&stall-timeout=2s"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_"))}
    environment |= {name: value for name, value in server.environment.items() if "KEY" in name}
    extra = "&anonymous=true" if server.store("x").startswith("gs") else ""
    environment["HEARTH_CONFORMANCE_STORE"] = f"{server.store('hearth-tests')}?endpoint=http://127.0.0.1:{server.port}&{times}{extra}"
    environment["HEARTH_CONFORMANCE_FAULTY_STORE"] = (
        f"{server.store('hearth-tests')}?endpoint=http://127.0.0.1:{server.proxy.port}&{times}{extra}")
    out = subprocess.run([PROGRAM, f"--gtest_filter={case}"], env=environment, capture_output=True, text=True, timeout=300,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES)))
    if out.returncode == 0 and "[  SKIPPED ]" in out.stdout:
        pytest.skip(out.stdout)
    assert out.returncode == 0 and "[  PASSED  ] 1 test." in out.stdout, out.stdout[-6000:] + out.stderr[-2000:]
