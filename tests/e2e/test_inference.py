"""Calls over HTTP, as a client makes them."""

import concurrent.futures
import http.client
import json
import math
import time
import urllib.parse

import pytest
from conftest import wait_until

ECHO = """
def predict(*args):
    return list(args)
"""


@pytest.fixture(scope="module")
def echo(server):
    return server.deploy(ECHO, "echo")


@pytest.fixture(scope="module")
def url(echo):
    return "/v1/echo/latest"


def test_a_single_value_is_the_one_argument(server, url):
    reply = server.call(url, 5)
    assert (reply.status, reply.json()) == (200, {"data": [5]})


def test_an_object_is_the_one_argument(server, url):
    assert server.call(url, {"a": [1, 2]}).json() == {"data": [{"a": [1, 2]}]}


def test_a_flat_list_is_positional_arguments(server, url):
    assert server.call(url, [1, "x", None]).json() == {"data": [1, "x", None]}


def test_a_batch_is_answered_by_id_numbers_by_value_then_strings(server, url):
    reply = server.call(url, [["b", 1], [10, 2], [9, 3], ["a", 4], [2.5, 5]])
    assert reply.json() == {"data": [[2.5, [5]], [9, [3]], [10, [2]], ["a", [4]], ["b", [1]]]}


def test_an_empty_batch_row_calls_without_arguments(server, url):
    assert server.call(url, [[1]]).json() == {"data": [[1, []]]}


def test_ten_thousand_rows_come_back_in_order(server, url):
    rows = [[i, i * i] for i in range(10_000)]
    assert server.call(url, rows[::-1]).json() == {"data": [[i, [i * i]] for i in range(10_000)]}


def test_big_numbers_and_text_pass_through_unchanged(server, url):
    values = [123456789012345678901234567890, 1e-300, "\u00e9\u4e2d\U0001f600", "a\\\"b\n"]
    assert server.call(url, values).json()["data"] == values


@pytest.mark.parametrize("path", ["/v1/echo/1", "/v1/echo/latest", "/v1/echo/main/1", "/v1/echo/main/latest"])
def test_every_way_to_name_a_version(server, echo, path):
    assert server.call(path, 1).status == 200


def test_a_branch_with_a_slash_is_written_with_a_tilde(server, echo):
    deployed = server.deploy(ECHO, "echo", "--branch", "feature/x")
    assert deployed["branch"] == "feature/x"
    assert server.call("/v1/echo/feature~x/latest", 1).status == 200
    assert server.call(deployed["url"], 1).status == 200


@pytest.mark.parametrize(
    "path", ["/v1/nothere/latest", "/v1/echo/nobranch/latest", "/v1/echo/99", "/v1/echo/noalias", "/v1/echo"]
)
def test_unknown_names_are_404_and_say_what_is_unknown(server, echo, path):
    reply = server.call(path, 1)
    assert reply.status == 404
    assert reply.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"data": NaN}', b"[1]", b'{"dat": 1}', b'{"data": [[1, 2], [1, 3]]}',
                                  b'{"data": [[1, 2], 3]}', b'{"data": 1, "timeout_seconds": "x"}', b'{"data": "\xff"}',
                                  b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_malformed_bodies_are_400_with_an_error(server, url, body):
    reply = server.request("POST", url, body)
    assert reply.status == 400, reply
    assert reply.json()["error"]


def test_a_body_over_the_limit_is_413(server, url):
    reply = server.request("POST", url, b'{"data": "' + b"x" * (80 << 20) + b'"}')
    assert reply.status == 413
    assert reply.json()["error"]


def test_a_wrong_method_is_405(server, url):
    assert server.request("GET", url).status == 405


def test_keys_are_taken_raw_or_as_bearer(server, url):
    for value in (server.info["key"], "Bearer " + server.info["key"]):
        assert server.call(url, 1, key=False, headers={"Authorization": value}).status == 200


def test_no_key_and_a_wrong_key_are_401(server, url):
    assert server.call(url, 1, key=False).status == 401
    assert server.call(url, 1, key="hk_wrong").status == 401


def test_anothers_workspace_is_403(server, url):
    assert server.call(url, 1, headers={"X-Hearth-Workspace": "other"}).status == 403
    assert server.call(url, 1, headers={"X-Hearth-Workspace": "default"}).status == 200


def test_a_revoked_key_is_refused(server, url):
    made = server.json("key", "create", "temporary")
    assert server.call(url, 1, key=made["key"]).status == 200
    server.hearth("key", "revoke", made["id"])
    deadline = time.monotonic() + 10
    while server.call(url, 1, key=made["key"]).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_request_ids_are_given_back(server, url):
    assert server.call(url, 1, headers={"X-Request-Id": "my-id-7"}).headers["X-Request-Id"] == "my-id-7"
    assert server.call(url, 1).headers["X-Request-Id"]


RAISES = """
import os, sys, time

def predict(what, *rest):
    if what == "raise":
        raise ValueError("no such thing as " + rest[0])
    if what == "exit":
        os._exit(7)
    if what == "segfault":
        import ctypes
        ctypes.string_at(0)
    if what == "memory":
        return len(bytearray(2 << 30))
    if what == "sleep":
        time.sleep(rest[0])
    if what == "nan":
        return float("nan")
    if what == "object":
        return object()
    if what == "print":
        print("out", rest[0])
        print("err", rest[0], file=sys.stderr)
        os.write(1, b"raw " + rest[0].encode() + b"\\n")
    return what
"""


@pytest.fixture(scope="module")
def raises(server):
    server.deploy(RAISES, "raises", toml='\n[resources]\nmemory = "256MiB"\nslots = 2\n')
    return "/v1/raises/latest"


def test_an_exception_is_422_with_its_message(server, raises):
    reply = server.call(raises, ["raise", "unicorns"])
    assert reply.status == 422
    assert "no such thing as unicorns" in reply.json()["error"]


def test_one_bad_row_fails_alone(server, raises):
    reply = server.call(raises, [[1, "ok"], [2, "raise", "x"], [3, "fine"]])
    assert reply.status == 422
    data = reply.json()["data"]
    assert [data[0], data[2]] == [[1, "ok"], [3, "fine"]]
    assert "no such thing as x" in data[1][1]["error"]
    assert reply.json()["error"]


def test_results_that_cannot_be_sent_are_422_and_say_why(server, raises):
    for what, word in (("nan", "nan"), ("object", "object")):
        reply = server.call(raises, [what])
        assert reply.status == 422
        assert word in reply.json()["error"].lower()


def test_a_worker_that_exits_is_502_with_its_exit_code_and_the_next_call_works(server, raises):
    reply = server.call(raises, ["exit"])
    assert reply.status == 502
    assert "7" in reply.json()["error"]
    assert server.call(raises, ["ok"]).json() == {"data": "ok"}


def test_a_worker_killed_by_a_signal_is_502_and_names_it(server, raises):
    reply = server.call(raises, ["segfault"])
    assert reply.status == 502
    assert "SIGSEGV" in reply.json()["error"] or "signal 11" in reply.json()["error"]
    assert server.call(raises, ["ok"]).status == 200


def test_a_worker_out_of_memory_is_502_and_says_so(server, raises):
    reply = server.call(raises, ["memory"])
    assert reply.status in (422, 502)  # the allocator may fail first, as a MemoryError
    assert "memory" in reply.json()["error"].lower()
    assert server.call(raises, ["ok"]).status == 200


def test_a_missed_deadline_is_408_and_frees_the_slot(server, raises):
    reply = server.call(raises, ["sleep", 30], extra={"timeout_seconds": 0.5})
    assert reply.status == 408
    assert reply.json()["error"]
    deadline = time.monotonic() + 15
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # both slots answer again
        while not all(r.status == 200 for r in pool.map(lambda _: server.call(raises, ["ok"]), range(8))):
            assert time.monotonic() < deadline


def test_a_client_that_leaves_frees_its_slot(server, raises):
    parts = urllib.parse.urlsplit(server.info["url"])
    for _ in range(2):
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request("POST", raises, json.dumps({"data": ["sleep", 30]}), {"Authorization": server.info["key"]})
        time.sleep(0.3)
        connection.close()
    deadline = time.monotonic() + 15
    while server.call(raises, ["ok"], extra={"timeout_seconds": 2}).status != 200:
        assert time.monotonic() < deadline


def test_output_is_captured_per_request_without_mixing(server, raises):
    names = [f"req{i}" for i in range(40)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: server.call(raises, ["print", n], headers={"X-Request-Id": n}), names))
    wait_for_logs(server, "raises", set(names))
    records = {r["id"]: r for r in server.logs("raises", "--limit", "500")}
    for name in names:
        assert records[name]["stdout"] == f"out {name}\nraw {name}\n"
        assert records[name]["stderr"] == f"err {name}\n"


def wait_for_logs(server, model, ids):
    wait_until(lambda: ids <= {r["id"] for r in server.logs(model, "--limit", "500")})


def test_every_request_leaves_one_record(server, raises):
    server.call(raises, ["raise", "log me"], headers={"X-Request-Id": "record-1"})
    wait_for_logs(server, "raises", {"record-1"})
    records = [r for r in server.logs("raises", "--limit", "500") if r["id"] == "record-1"]
    assert len(records) == 1
    record = records[0]
    assert (record["model"], record["branch"], record["version"], record["alias"], record["status"]) == ("raises", "main", 1, "latest", 422)
    assert "log me" in json.dumps(record["error"])
    assert record["total_us"] >= record["run_us"] >= 0


def test_conversions_users_expect(server):
    server.deploy(
        """
import datetime, decimal, uuid, pathlib

def predict(kind):
    return {"tuple": (1, 2), "set": {3}, "date": datetime.date(2026, 1, 2), "path": pathlib.PurePosixPath("/a"),
            "decimal": decimal.Decimal("1.5"), "bytes": b"text", "uuid": uuid.UUID(int=1)}[kind]
""", "conversions")
    expected = {"tuple": [1, 2], "set": [3], "date": "2026-01-02", "path": "/a", "bytes": "text",
                "uuid": "00000000-0000-0000-0000-000000000001"}
    for kind, value in expected.items():
        assert server.call("/v1/conversions/latest", kind).json() == {"data": value}, kind
    assert math.isclose(float(server.call("/v1/conversions/latest", "decimal").json()["data"]), 1.5)


def test_batch_mode_gets_all_rows_in_one_call_and_one_bad_row_fails_alone(server):
    server.deploy(
        """
def predict(rows):
    if any(r == "bad" for r in rows):
        raise ValueError("bad row")
    return [[r, len(rows)] for r in rows]
""", "batch", mode="batch")
    reply = server.call("/v1/batch/latest", [[i, i] for i in range(20)])
    assert [r[1][0] for r in reply.json()["data"]] == list(range(20))
    assert max(r[1][1] for r in reply.json()["data"]) > 1
    assert server.call("/v1/batch/latest", [1, 2]).json()["data"] == [[1, 2], 1]
    reply = server.call("/v1/batch/latest", [[1, "a"], [2, "bad"], [3, "c"]])
    assert reply.status == 422
    assert [row[0] for row in reply.json()["data"]] == [1, 2, 3]
    assert "bad row" in reply.json()["data"][1][1]["error"]


def test_load_beyond_the_queue_is_429_with_retry_after(server):
    server.deploy("import time\n\ndef predict(x):\n    time.sleep(0.5)\n    return x\n", "slow")
    assert server.call("/v1/slow/latest", 0).status == 200
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda i: server.call("/v1/slow/latest", i, extra={"timeout_seconds": 8}), range(100)))
    codes = {r.status for r in replies}
    assert 200 in codes and 429 in codes and codes <= {200, 408, 429}
    for reply in replies:
        if reply.status == 429:
            assert int(reply.headers["Retry-After"]) >= 1
            assert reply.json()["error"]


def test_health_and_metrics_need_no_key(server, url):
    for path in ("/livez", "/readyz", "/health"):
        assert server.request("GET", path, key=False).status == 200
    server.call(url, 1)
    text = server.request("GET", "/metrics", key=False).body.decode()
    assert "hearth_" in text and "# TYPE" in text
