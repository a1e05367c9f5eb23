"""hearth trace cold-start: where the time of a start went, and what its reads waited for."""

import os
import signal

import pytest

from conftest import wait_until

CODE = """
import os

DATA = open("data.bin", "rb").read()

def predict():
    return len(DATA)
"""
SIZE = 3_000_000


@pytest.fixture(scope="module")
def traced(server):
    server.deploy(CODE, "traced", files={"data.bin": os.urandom(SIZE)})
    assert server.call("/v1/traced/latest", [[0]]).json() == {"data": [[0, SIZE]]}
    return server.json("trace", "cold-start", "traced")


def lazy(report):
    return all("trace" in layer for layer in report["layers"])


def test_its_phases_are_all_of_the_time_to_ready(traced):
    assert [p["phase"] for p in traced["phases"]] == ["queue", "mount", "create", "start", "load"]
    assert sum(p["ms"] for p in traced["phases"]) + 1 >= traced["ready_ms"] > 0
    assert (traced["model"], traced["branch"], traced["version"]) == ("traced", "main", 1)


def test_what_was_read_for_the_first_time_came_from_the_store_and_says_for_which_file(traced):
    if not lazy(traced):
        pytest.skip("images are unpacked here: nothing is read lazily")
    store = traced["tiers"]["store"]
    assert store["bytes"] + store["ahead_bytes"] >= SIZE  # noise: nothing compresses it
    assert store["waits"] > 0 and store["waited_us"] > 0
    assert any((f["path"] or "").endswith("/data.bin") and f["layer"] == "code" and f["waited_us"] > 0 for f in traced["slowest"])
    assert [l["role"] for l in traced["layers"]][-1] == "code"


def test_people_get_a_table(server, traced):
    text = server.hearth("trace", "cold-start", "traced").stdout
    assert text.startswith("traced/main version 1 on node ")
    for word in ("PHASE", "mount", "create", "start", "ready", "TIER"):
        assert word in text, text
    if lazy(traced):
        assert "data.bin" in text and "object store" in text, text


def test_a_second_start_finds_on_disk_what_the_first_one_fetched(server, traced):
    if not lazy(traced):
        pytest.skip("images are unpacked here: nothing is read lazily")
    began = traced["began"]
    pid = server.replicas("traced")[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    # A call that is quick enough is still answered by the one that dies.
    wait_until(lambda: server.call("/v1/traced/latest", [[0]]).status == 200 and began < server.json("trace", "cold-start", "traced")["began"])
    again = server.json("trace", "cold-start", "traced")
    assert again["tiers"].get("store", {"bytes": 0})["bytes"] < SIZE


def test_what_is_not_there_is_said(server, traced):
    for arguments in (["nothing"], ["traced", "--version", "7"], ["traced", "--branch", "other"]):
        out = server.hearth("trace", "cold-start", *arguments, check=False)
        assert out.returncode == 1 and "hearth: " in out.stderr, out
