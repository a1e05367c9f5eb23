"""The Python end of the wire against bytes that make no sense: it refuses or reads them, and goes on serving."""
import json
import os
import random
import socket
import time

import pytest
from replica import RUNNER, Client, Replica, wire
from test_wire import decode, entries_of

with open(os.path.join(os.path.dirname(RUNNER), "api", "wire", "messages.json"), encoding="utf-8") as _file:
    SEEDS = [bytes.fromhex(m["hex"]) for m in json.load(_file)["messages"]]

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "3000"))


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 1:
            del data[at:at + rng.randint(1, 8)]
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif kind == 3:
            data += rng.choice(SEEDS)
        else:
            data = data[:at]
        if not data:
            return b"\0"
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_the_decoder_reads_or_refuses_whatever_comes(seed):
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        data = mutate(rng, rng.choice(SEEDS))
        try:
            frames = decode(data, rng.choice((None, 1, 3, 17)))
            for frame in frames:
                entries_of(frame)
                if frame[0] in (wire.HELLO, wire.EVENT, wire.OPEN, wire.GOODBYE):
                    wire.read_json(*frame[3:])
        except (wire.ProtocolError, UnicodeDecodeError):
            pass  # the second comes from the test's own reading of payloads as text


def connect(path):
    """The worker takes its callers one at a time: a full backlog is waited for."""
    while True:
        try:
            return Client(path, greet=False)
        except BlockingIOError:
            time.sleep(0.01)


def test_a_worker_that_is_sent_garbage_goes_on_serving():
    rng = random.Random(5)
    with Replica("def predict(x):\n    return x\n") as replica:
        assert replica.worker().value("1") == 1
        for _ in range(150):
            client = connect(os.path.join(replica.folder, "worker-0.sock"))
            hello = wire.json_frame(wire.HELLO, {"versions": [1, 1], "role": "node", "id": "fuzz"})
            try:
                client.send((hello if rng.random() < 0.7 else b"") + mutate(rng, rng.choice(SEEDS)))
                client.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            client.close()
        last = replica.worker()
        last.send(wire.ids_frame(wire.ATTACH, []))  # results wait for it while earlier ones are kept
        assert last.value("2") == 2
        assert replica.process.poll() is None
