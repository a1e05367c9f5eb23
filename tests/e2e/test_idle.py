"""Idle replicas are paused, later stopped; the next call just works."""

from conftest import wait_until

CODE = """
import os
calls = 0

def predict():
    global calls
    calls += 1
    return [os.getpid(), calls]
"""


def states(server, model):
    return [r["state"] for r in server.replicas(model)]


def call(server, model):
    reply = server.call(f"/v1/{model}/latest", [[0]])
    assert reply.status == 200, reply
    return reply.json()["data"][0][1]


def test_an_idle_replica_is_paused_and_thaws_at_the_next_call_with_its_memory(server):
    server.deploy(CODE, "pauses", toml='\n[timeouts]\nidle_pause = "500ms"\nidle_stop = "10m"\n')
    call(server, "pauses")
    pid, calls = call(server, "pauses")
    wait_until(lambda: states(server, "pauses") == ["paused"])
    assert call(server, "pauses") == [pid, calls + 1]
    wait_until(lambda: states(server, "pauses") == ["paused"])


def test_a_replica_idle_for_long_is_stopped_and_the_next_call_starts_it(server):
    server.deploy(CODE, "stops", toml='\n[timeouts]\nidle_pause = "300ms"\nidle_stop = "1s"\n')
    assert call(server, "stops")[1] >= 1
    wait_until(lambda: not [s for s in states(server, "stops") if s in ("ready", "paused", "draining")])
    assert call(server, "stops")[1] == 1


def test_many_callers_of_a_cold_model_start_it_once(server):
    from concurrent.futures import ThreadPoolExecutor

    code = "import os, time\nNONCE = os.urandom(8).hex()\ntime.sleep(0.5)\n\ndef predict():\n    return NONCE\n"
    server.deploy(code, "stampede", toml='\n[timeouts]\nidle_pause = "300ms"\nidle_stop = "600ms"\n')
    wait_until(lambda: not [s for s in states(server, "stampede") if s in ("ready", "paused", "draining", "loading", "starting")])
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: call(server, "stampede"), range(16)))
    assert len(set(answers)) == 1
