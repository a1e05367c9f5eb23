"""The Python codec against the example messages that the C++ codec is tested with."""
import json
import os

import pytest
from replica import RUNNER, wire

with open(os.path.join(os.path.dirname(RUNNER), "api", "wire", "messages.json"), encoding="utf-8") as _file:
    EXAMPLES = json.load(_file)


def decode(data, step=None):
    decoder = wire.Decoder()
    frames = []
    step = step or len(data)
    for at in range(0, len(data), step):
        frames += decoder.feed(data[at:at + step])
    return frames


def entries_of(frame):
    """The same shape as in messages.json; raises ProtocolError."""
    kind, count, seq, data, start, end = frame
    if kind == wire.REQUESTS:
        names = ("id", "target", "payload", "deadline_ms", "kind")
        return [dict(zip(names, r), payload=r[2].decode()) for r in wire.read_requests(count, data, start, end)]
    if kind == wire.RESULTS:
        results = wire.read_results(count, seq, data, start, end)
        for at, result in enumerate(results):
            assert result.pop("seq") == seq + at
            result.update({name: result[name].decode() for name in ("value", "stdout", "stderr")})
        return results
    if kind in (wire.CANCEL, wire.ATTACH):
        return [{"id": i} for i in wire.read_ids(count, data, start, end)]
    if kind == wire.CREDITS:
        return [{"target": t, "limit": n} for t, n in wire.read_credits(count, data, start, end)]
    return None


@pytest.mark.parametrize("message", EXAMPLES["messages"], ids=lambda m: m["name"])
@pytest.mark.parametrize("step", [1, 7, None])
def test_reads_the_example(message, step):
    frame, = decode(bytes.fromhex(message["hex"]), step)
    assert frame[:3] == (message["type"], message["count"], message["seq"])
    if "json" in message:
        assert wire.read_json(*frame[3:]) == message["json"]
    elif "entries" in message and message["type"] != wire.PROGRESS:
        assert entries_of(frame) == message["entries"]


@pytest.mark.parametrize("message", EXAMPLES["broken"], ids=lambda m: m["name"])
def test_refuses_the_broken_example(message):
    with pytest.raises(wire.ProtocolError):
        for frame in decode(bytes.fromhex(message["hex"])):
            entries_of(frame)


def test_all_examples_in_one_stream():
    stream = b"".join(bytes.fromhex(m["hex"]) for m in EXAMPLES["messages"])
    for step in (1, 5, 64, 1000, None):
        assert [f[0] for f in decode(stream, step)] == [m["type"] for m in EXAMPLES["messages"]]


def test_skips_what_a_later_version_marks_as_ignorable():
    stream = wire.frame(200, b"later", 3, flags=wire.FLAG_IGNORABLE) + wire.frame(wire.PING, seq=1)
    assert [f[0] for f in decode(stream)] == [wire.PING]


@pytest.mark.parametrize("mine, theirs, agreed", [((1, 1), (1, 1), 1), ((1, 1), (1, 2), 1), ((1, 2), (2, 3), 2),
                                                  ((1, 1), (2, 3), None), ((2, 3), (1, 1), None)])
def test_agrees_on_a_version(mine, theirs, agreed):
    assert wire.agree_version(mine, theirs) == agreed


def test_kept_results_are_numbered_from_one_and_freed_by_acks():
    kept = wire.KeptResults()
    entry = wire.RESULT.pack(5, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0)
    kept.keep([entry, entry], [b"1", b"2"])
    kept.keep([entry], [b"3"])
    assert (kept.next_seq, len(kept.after(0)), len(kept.after(1)), len(kept.after(2)), len(kept.after(3))) == (4, 2, 2, 1, 0)
    kept.acknowledge(1)  # in the middle of a frame: the frame stays
    assert len(kept.after(0)) == 2
    kept.acknowledge(99)  # a number never given out
    assert len(kept.after(0)) == 2
    kept.acknowledge(3)
    assert kept.after(0) == [] and kept.bytes == 0 and kept.ids() == set()
