"""Replicas that hash what they read of a lazily mounted image, while processes are killed at random moments: they get the
right bytes, or EIO where the holder died with a read in its hands; never wrong bytes, and right ones when they ask again."""

import hashlib
import os
import random
import shutil
import signal
import threading
import time

import pytest
from conftest import wait_until

FILES, FILE_BYTES = 12, 3_000_000
HASHER = '''
import hashlib, os
def predict(name):
    """The hash of a file beside the model, read in small pieces; or the errno."""
    digest = hashlib.sha256()
    try:
        with open(os.path.join(os.path.dirname(__file__), "data", name), "rb", buffering=0) as file:
            while piece := file.read(50_000):
                digest.update(piece)
    except OSError as error:
        return error.errno
    return digest.hexdigest()
'''
EIO = 5


def content(number):
    return random.Random(number).randbytes(FILE_BYTES)


@pytest.fixture(scope="module")
def server(make_server):
    server = make_server()
    server.deploy(HASHER, "hasher", files={f"data/{i}": content(i) for i in range(FILES)})
    assert server.call("/v1/hasher/latest", "0").json()["data"] == hashlib.sha256(content(0)).hexdigest()
    return server


def forget_content(server):
    """The node as if it had never read the image: everything stopped, its cache gone, started again."""
    server.down()
    shutil.rmtree(server.data_dir / "imagefs")
    server.up()


ROUNDS = 3  # of kills: more of them, and the supervisor would wait longer and longer before it starts a role again


def kill_at_random(server, roles, chance):
    """Some of these roles, at nearly the same moment or one by one, at moments that nobody chose."""
    for _ in range(ROUNDS):
        time.sleep(chance.uniform(0.01, 0.8))
        for role in chance.sample(roles, chance.randint(1, len(roles))):
            try:
                os.kill(server.pid_of(role), signal.SIGKILL)
            except (StopIteration, ProcessLookupError, AssertionError):
                pass  # it is just being started
            time.sleep(chance.choice([0, 0, 0.02]))


def ask(server, name):
    """Whatever the killed node or router costs a request, it is asked again: this test is about bytes."""
    for _ in range(600):
        try:
            reply = server.call("/v1/hasher/latest", name)
        except OSError:
            reply = None
        if reply is not None and reply.status == 200:
            return reply.json()["data"]
        time.sleep(0.05)
    raise AssertionError(f"no answer for {name}: {reply}")


@pytest.mark.parametrize("roles, may_fail", [
    (["imagefs"], False),
    (["imagefs", "node"], False),
    (["imagefs", "node", "holder"], True),
])
def test_who_hashes_all_it_reads_never_sees_a_wrong_byte(server, roles, may_fail):
    forget_content(server)
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    right = {str(i): hashlib.sha256(content(i)).hexdigest() for i in range(FILES)}
    seen = {}

    def read(names):
        for name in names:
            seen.setdefault(name, []).append(ask(server, name))

    names = list(right)
    readers = [threading.Thread(target=read, args=(names[i:] + names[:i],)) for i in (0, 5)]
    for reader in readers:
        reader.start()
    kill_at_random(server, roles, random.Random(seed))
    for reader in readers:
        reader.join()
    assert sum(map(len, seen.values())) == 2 * FILES, "each question was answered"
    for name, answers in seen.items():
        for answer in answers:
            assert answer == right[name] or (may_fail and answer == EIO), f"file {name}: {answer}; seed {seed}"
    wait_until(lambda: server.request("GET", "/readyz", key=False).status == 200)
    assert {name: ask(server, name) for name in names} == right, "afterwards all of it can be read"
