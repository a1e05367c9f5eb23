"""What the benchmark of lazy images relies on: its simulated S3, and its arithmetic."""

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench/lazy"
sys.path.insert(0, str(BENCH))

import goals  # noqa: E402
import page  # noqa: E402
import picture  # noqa: E402
from tables import ColdTable  # noqa: E402


@pytest.fixture
def s3(tmp_path):
    """Requests to a simulated S3 with an empty bucket `b`."""
    (tmp_path / "b").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, BENCH / "s3_subset.py", str(port), tmp_path])
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def request(method, path, body=None, **headers):
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read()

    yield request
    connection.close()
    server.kill()
    server.wait()


def test_an_object_is_created_once_when_it_must_be_absent(s3):
    assert s3("PUT", "/b/a/key", b"first", If_None_Match="*")[0] == 200
    status, body = s3("PUT", "/b/a/key", b"second", If_None_Match="*")
    assert status == 412 and b"PreconditionFailed" in body
    assert s3("GET", "/b/a/key") == (200, b"first")
    assert s3("PUT", "/b/a/key", b"third")[0] == 200
    assert s3("GET", "/b/a/key") == (200, b"third")


def test_what_is_not_there_is_said_so(s3):
    status, body = s3("GET", "/b/nothing")
    assert status == 404 and b"<Code>NoSuchKey</Code>" in body
    assert s3("HEAD", "/b/nothing") == (404, b"")
    assert s3("DELETE", "/b/nothing")[0] == 204


def test_a_path_that_leaves_the_bucket_is_refused(s3, tmp_path):
    (tmp_path.parent / "outside").write_text("secret")
    assert s3("GET", "/b/../../outside")[0] == 400


def test_parts_of_an_upload_become_one_object_in_their_order(s3):
    body = s3("POST", "/b/big?uploads")[1].decode()
    upload = body.split("<UploadId>")[1].split("<")[0]
    for number, part in ((2, b"world"), (1, b"hello ")):
        assert s3("PUT", f"/b/big?partNumber={number}&uploadId={upload}", part)[0] == 200
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber></Part>" for n in (1, 2))
    assert s3("POST", f"/b/big?uploadId={upload}", f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")[0] == 200
    assert s3("GET", "/b/big") == (200, b"hello world")


def test_a_listing_goes_on_where_it_stopped(s3):
    for name in ("a/1", "a/2", "a/3", "b/1", "a.txt"):
        s3("PUT", f"/b/{name}", name)
    first = s3("GET", "/b/?list-type=2&prefix=a/&max-keys=2")[1].decode()
    assert "<Key>a/1</Key>" in first and "<Key>a/3</Key>" not in first and "<IsTruncated>true</IsTruncated>" in first
    token = first.split("<NextContinuationToken>")[1].split("<")[0]
    rest = s3("GET", f"/b/?list-type=2&prefix=a/&continuation-token={token}")[1].decode()
    assert "<Key>a/3</Key>" in rest and "<Key>a/1</Key>" not in rest and "<IsTruncated>false</IsTruncated>" in rest
    folders = s3("GET", "/b/?list-type=2&delimiter=/")[1].decode()
    assert "<Prefix>a/</Prefix>" in folders and "<Key>a.txt</Key>" in folders and "a/1" not in folders


def start(row, seconds, repetition=0, **more):
    return {"part": "cold", "row": row, "work": "tf", "net": "20ms", "phase": "cold", "repetition": repetition, "seconds": seconds, "cpu_s": seconds,
            "down": 90e6, "requests": 12} | more


def test_ratios_are_taken_within_a_repetition():
    records = [start("local", 1), start("hearth", 2), start("local", 10, 1), start("hearth", 11, 1), start("local", 4, 2), start("hearth", 4, 2)]
    assert ColdTable(records, "tf", "20ms").ratio("hearth") == pytest.approx(1.1)


def test_a_goal_that_is_missed_is_marked_and_a_failure_is_listed():
    records = [start("local", 1), start("hearth", 2), {"part": "cold", "row": "eager", "work": "tf", "net": "20ms", "failed": "no registry"}]
    tables = page.cold_tables(records)
    rows = goals.all_goals(records, tables)
    assert ["tf, 20ms: with its profile ÷ local", "≤ 1.1", "2.00", "**no**"] in rows
    assert "no registry" in page.failures(records)


def test_bytes_are_compared_with_the_pages_that_the_workload_touches():
    records = [start("hearth", 1), {"part": "bound", "work": "tf", "zstd_bytes": 72e6, "files": 1, "image_files": 2, "bytes": 3, "image_bytes": 4,
                                    "seconds_without_readahead": 5}]
    rows = goals.all_goals(records, page.cold_tables(records))
    assert ["tf, 20ms: bytes fetched ÷ touched pages compressed, with its profile", "≤ 1.3", "1.25", "yes"] in rows


def test_the_picture_shows_every_row():
    import xml.dom.minidom

    text = picture.svg(page.cold_tables([start("local", 1), start("hearth", 1.1), start("eager", 30)]))
    names = [t.firstChild.data for t in xml.dom.minidom.parseString(text).getElementsByTagName("text")]
    assert {"local", "hearth", "eager"} <= set(names)
