"""kill -9 of each process in turn: nothing is lost, and what a model runs in stays."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import HEARTH
from conftest import wait_until

COUNTER = '''
import os, time
calls = 0
def predict(nap=0):
    global calls
    calls += 1
    time.sleep(nap)
    return [os.getpid(), calls]
'''
HOST_ROLES = ["node", "imagefs", "holder", "redis"]


@pytest.fixture(scope="module")
def server(make_server):
    """A server of its own: what is killed here is no other test's."""
    server = make_server()
    server.deploy(COUNTER, "counter")
    server.hearth("alias", "set", "counter", "prod", 1)
    assert server.call("/v1/counter/prod", [[1]]).status == 200
    return server


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def pids(server):
    return {p["role"]: p["pid"] for p in server.status()["processes"]}


def replica_pids(server):
    return sorted(r["pid"] for r in server.replicas("counter"))


def kill_role(server, role):
    old = server.pid_of(role)
    kill(old)
    return wait_until(lambda: pids(server).get(role) not in (None, old) and pids(server)[role])


def one_call(server, nap=0):
    reply = server.call("/v1/counter/prod", [[1, nap]])
    assert reply.status == 200, reply
    return reply.json()["data"][0][1]


class Callers:
    """Threads that call without a pause; what went wrong is in .failures."""

    def __init__(self, server, threads=4):
        self.failures, self.answers, self.stopped = [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(server,)) for _ in range(threads)]

    def work(self, server):
        while not self.stopped.is_set():
            try:
                reply = server.call("/v1/counter/prod", [[1]])
            except OSError as error:
                self.failures.append(error)
                continue
            if reply.status == 200:
                self.answers += 1
            else:
                self.failures.append(reply)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("role", HOST_ROLES + ["router"])
def test_a_killed_process_comes_back_and_the_replica_stays(server, role):
    one_call(server)
    replicas, others = replica_pids(server), pids(server)
    _, calls = one_call(server)
    new = kill_role(server, role)
    assert new != others[role]
    assert {r: p for r, p in pids(server).items() if r != role} == {r: p for r, p in others.items() if r != role}
    wait_until(lambda: server.request("GET", "/readyz", key=False).status == 200)
    assert one_call(server)[1] == calls + 1, "the same worker goes on counting"
    wait_until(lambda: replica_pids(server) == replicas)


@pytest.mark.parametrize("role", HOST_ROLES)
def test_a_request_under_way_is_answered_although_a_process_dies(server, role):
    answers = []
    one_call(server)
    caller = threading.Thread(target=lambda: answers.append(server.call("/v1/counter/prod", [[1, 2.0]])))
    caller.start()
    time.sleep(0.5)
    kill_role(server, role)
    caller.join()
    assert answers[0].status == 200, answers


@pytest.mark.parametrize("role", HOST_ROLES)
def test_callers_notice_nothing(server, role):
    with Callers(server) as callers:
        time.sleep(0.3)
        kill_role(server, role)
        time.sleep(1.0)
    assert callers.answers > 0 and callers.failures == []


def test_a_killed_router_refuses_no_connection(server):
    with Callers(server) as callers:
        time.sleep(0.3)
        kill_role(server, "router")
        time.sleep(1.0)
    # What the killed router had in hand is cut off, once for each caller at most; nobody is turned away.
    assert len(callers.failures) <= len(callers.threads)
    assert not [f for f in callers.failures if "refused" in str(f)]


def test_after_a_killed_supervisor_everything_goes_on_and_the_next_adopts_it(server):
    before, replicas, url = pids(server), replica_pids(server), server.info["url"]
    with Callers(server) as callers:
        kill(server.info["pid"])
        time.sleep(0.5)
        assert pids(server) == before
        info = server.up()
        time.sleep(0.3)
    assert callers.failures == []
    assert info["url"] == url and info["pid"] not in before.values()
    assert pids(server) == before and replica_pids(server) == replicas
    kill_role(server, "node")  # it is watched although it is not a child of the new supervisor
    one_call(server)


def test_a_router_that_dies_without_a_supervisor_still_has_its_listener(server):
    kill(server.info["pid"])
    kill(server.pid_of("router"))
    answers = []
    caller = threading.Thread(target=lambda: answers.append(server.call("/v1/counter/prod", [[1]])))
    caller.start()  # waits in the listener that the holder keeps
    time.sleep(0.3)
    server.up()
    caller.join()
    assert answers[0].status == 200


def test_the_listener_is_found_although_supervisor_and_holder_died(server):
    before, url = pids(server), server.info["url"]
    kill(server.info["pid"])
    kill(before["holder"])
    assert server.up()["url"] == url
    assert {r: p for r, p in pids(server).items() if r != "holder"} == {r: p for r, p in before.items() if r != "holder"}
    one_call(server)


def test_a_killed_replica_is_started_again(server):
    one_call(server)
    old = replica_pids(server)
    for pid in old:
        kill(pid)
    wait_until(lambda: set(replica_pids(server)).isdisjoint(old))
    wait_until(lambda: server.call("/v1/counter/prod", [[1]]).status == 200)  # 502 says how those ended it was given to
    assert replica_pids(server) and set(replica_pids(server)).isdisjoint(old)


def test_a_deployment_survives_a_router_that_dies(server):
    version = server.deploy(COUNTER, "deployed")["version"]
    kill_role(server, "router")
    wait_until(lambda: server.request("GET", "/readyz", key=False).status == 200)
    assert server.call(f"/v1/deployed/{version}", [[1]]).status == 200


@pytest.mark.parametrize("role", HOST_ROLES + ["router"])
def test_a_process_that_dies_during_a_deployment_costs_at_most_that_deployment(server, role, tmp_path):
    """Either it goes on and is there, or it says why it failed and is not; the next one works."""
    name = f"during-{role}"
    (tmp_path / "model.py").write_text(COUNTER)
    (tmp_path / "hearth.toml").write_text(f'[model]\nname = "{name}"\nhandler = "model:predict"\n')
    deploying = subprocess.Popen([HEARTH, "deploy", tmp_path, "--json"], env=server.env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
    time.sleep(0.4)
    kill_role(server, role)
    out, err = deploying.communicate(timeout=120)
    wait_until(lambda: server.request("GET", "/readyz", key=False).status == 200)
    versions = [v["version"] for m in server.json("ls")["models"] if m["model"] == name for v in m["versions"]]
    if deploying.returncode == 0:
        assert versions == [json.loads(out.splitlines()[-1])["version"]]
    else:
        assert deploying.returncode == 1 and err.strip().splitlines()[-1].startswith("hearth: "), err
    again = server.json("deploy", tmp_path)
    assert server.call(f"/v1/{name}/{again['version']}", [[1]]).status == 200


def test_records_of_answered_requests_are_all_there(server):
    server.deploy(COUNTER, "recorded")
    answered = set()
    for role in HOST_ROLES + ["router"]:
        for _ in range(5):
            reply = server.call("/v1/recorded/latest", [[1]])
            assert reply.status == 200
            answered.add(reply.headers["X-Request-Id"])
        kill_role(server, role)
        wait_until(lambda: server.request("GET", "/readyz", key=False).status == 200)
    recorded = [r["id"] for r in server.logs("recorded", "--limit", "1000")]
    assert answered <= set(recorded)
    assert len(recorded) == len(set(recorded)), "none twice"


def test_everything_at_once(server):
    one_call(server)
    kill(server.info["pid"])
    for pid in pids(server).values():
        kill(pid)
    server.up()
    assert server.call("/v1/counter/prod", [[1]]).status == 200
    assert server.json("ls")["models"]


def test_down_after_a_killed_supervisor_leaves_nothing(server):
    from pathlib import Path

    run_dir = (server.data_dir / "run").resolve()
    one_call(server)
    running, replicas = pids(server), replica_pids(server)
    kill(server.info["pid"])
    assert server.down().returncode == 0
    for pid in [*running.values(), *replicas]:
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert not run_dir.exists()
    assert str(run_dir) not in Path("/proc/self/mountinfo").read_text()
    server.up()
    one_call(server)
