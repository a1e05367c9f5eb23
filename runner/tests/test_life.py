"""Loading, readiness, restarts, cancelling, lost connections."""
import os
import signal
import subprocess
import sys
import time

import pytest
from replica import Client, Replica, until, wire

SLEEPER = """
    import time
    def predict(seconds):
        time.sleep(seconds)
        return seconds
"""


@pytest.mark.parametrize("code, config, told", [
    ("raise ValueError('no weights')", {}, "ValueError: no weights"),
    ("import nonsense_module", {}, "No module named 'nonsense_module'"),
    ("def predict(:", {}, "SyntaxError"),
    ("def predikt(x): pass", {}, "module model has no predict; did you mean predikt?"),
    ("predict = 5", {}, "it is a int, not a function"),
    ("async def predict(x): pass", {}, "asynchronous"),
    ("def predict(x): pass", {"handler": "other:predict"}, "there is no module other in the model's folder"),
    ("def predict(x): pass", {"handler": "predict"}, 'write it as "module:function"'),
    ("def predict(x): pass\ndef setup(): 1 / 0", {"setup": "model:setup"}, "ZeroDivisionError"),
    ("def predict(x): pass\ndef setup(): raise SystemExit(2)", {"setup": "model:setup"}, "SystemExit: 2"),
    ("def predict(x): pass\ndef setup(a): pass", {"setup": "model:setup"}, "without arguments"),
])
@pytest.mark.parametrize("preload", [False, True])
def test_what_cannot_be_loaded_says_why_and_answers_requests(code, config, told, preload):
    with Replica(code, preload=preload, **config) as replica:
        worker = replica.worker(ready=False)
        if worker.hello["state"] != "failed":
            worker.event("state", state="failed")
        worker = replica.worker(ready=False)
        hello = worker.hello
        assert hello["state"] == "failed" and told in hello["error"]["error"]
        assert hello["credits"] == 0
        result = worker.call("1")[0]
        assert result["status"] == wire.NOT_READY and told in result["json"]["error"]


def test_the_stack_of_a_failed_import_shows_the_users_line():
    with Replica("x = 1\nboom = x / 0\n") as replica:
        worker = replica.worker(ready=False)
        error = (worker.hello.get("error") or worker.event("state")["error"])
        assert "boom = x / 0" in error["stack"] and "hearth_runner" not in error["stack"]


def test_hello_tells_phases_and_learned_modules():
    pytest.importorskip("numpy")
    with Replica("import numpy, json\ndef predict(x): return x", preload_imports=["numpy", "not_there"]) as replica:
        replica.worker()
        hello = replica.worker().hello
        assert hello["phases"]["import_ms"] >= 0 and "setup_ms" in hello["phases"]
        assert "numpy" in hello["modules"] and "json" not in hello["modules"] and "model" not in hello["modules"]
        assert hello["mode"] == "row" and hello["credits"] > 0
        preload = replica.supervisor().hello["preload"]
        assert preload["modules"] == ["numpy"] and "not_there" in preload["failed"]


def test_preload_shares_what_setup_made_and_forks_from_it():
    with Replica("""
        import os
        loaded = {}
        def setup(): loaded["by"] = os.getpid()
        def predict(): return [loaded["by"], os.getpid()]
        """, preload=True, setup="model:setup", slots=2) as replica:
        first, second = replica.worker(0).value(""), replica.worker(1).value("")
        assert first[0] == second[0] == replica.process.pid
        assert len({first[0], first[1], second[1]}) == 3


def test_without_preload_each_worker_sets_up_itself():
    with Replica("import os\nby = []\ndef setup(): by.append(os.getpid())\ndef predict(): return by == [os.getpid()]",
                 setup="model:setup", slots=2) as replica:
        assert replica.worker(0).value("") is True and replica.worker(1).value("") is True


def test_ready_hook_keeps_traffic_away_without_a_restart(tmp_path):
    flag = tmp_path / "ready"
    with Replica("import os\ndef ready(): return os.path.exists(%r)\ndef predict(x): return x" % str(flag),
                 ready="model:ready") as replica:
        worker = replica.worker(ready=False)
        if worker.hello["state"] == "loading":
            worker.event("state", state="unready")
        flag.write_text("")
        worker.event("state", state="ready")
        worker.read_until(lambda: worker.credits and worker.credits[-1][1] > 0)
        assert worker.value("1") == 1
        flag.unlink()
        worker.event("state", state="unready")
        worker.read_until(lambda: worker.credits[-1] == (0, 0))


def test_a_ready_hook_that_raises_is_not_ready():
    with Replica("def ready(): raise OSError('db is away')\ndef predict(x): return x", ready="model:ready") as replica:
        worker = replica.worker(ready=False)
        state = worker.hello if worker.hello["state"] == "unready" else worker.event("state", state="unready")
        assert "db is away" in state["error"]["error"]


@pytest.mark.parametrize("how, field, value", [
    ("os._exit(7)", "code", 7), ("os.kill(os.getpid(), 9)", "signal", 9), ("os.abort()", "signal", 6)])
def test_a_worker_that_dies_is_forked_again_at_once(how, field, value):
    with Replica("import os\ndef predict(die):\n    if die: %s\n    return os.getpid()" % how) as replica:
        supervisor = replica.supervisor()
        worker = replica.worker()
        pid = worker.value("0")
        worker.ask("1")
        exited = supervisor.event("worker_exited")
        assert (exited["pid"], exited[field], exited["state"]) == (pid, value, "ready")
        assert exited["restart_ms"] == 0
        new = supervisor.event("worker_started")
        with pytest.raises((EOFError, ConnectionError)):
            worker.call("0")
        again = replica.worker()
        assert again.value("0") == new["pid"] != pid
        assert again.hello["boot"] != worker.hello["boot"]
        assert replica.supervisor().hello["exits"][-1]["pid"] == pid


def test_repeated_deaths_are_backed_off():
    with Replica("import os\ndef predict(): os._exit(1)") as replica:
        supervisor = replica.supervisor()
        waits = []
        for _ in range(3):
            worker = replica.worker()
            worker.ask("")
            waits.append(supervisor.event("worker_exited")["restart_ms"])
        assert waits[0] == 0 and waits == sorted(waits) and waits[2] > waits[1] > 0


def test_a_worker_that_dies_while_loading_stays_down_until_told(tmp_path):
    flag = tmp_path / "works"
    with Replica("import os\nif not os.path.exists(%r): os._exit(3)\ndef predict(x): return x" % str(flag)) as replica:
        supervisor = replica.supervisor()
        exits = supervisor.hello["exits"] or [supervisor.event("worker_exited")]
        assert exits[0]["code"] == 3 and exits[0]["state"] == "loading" and "restart_ms" not in exits[0]
        flag.write_text("")
        assert supervisor.method("restart", index=0)["status"] == wire.OK
        assert replica.worker().value("1") == 1


def test_restart_replaces_a_healthy_worker():
    with Replica("import os\ndef predict(): return os.getpid()") as replica:
        supervisor = replica.supervisor()
        worker = replica.worker()
        pid = worker.value("")
        supervisor.method("restart", index=0)
        assert supervisor.event("worker_exited")["signal"] == signal.SIGKILL
        assert replica.worker().value("") != pid


def test_cancel_answers_what_is_queued():
    with Replica(SLEEPER) as replica:
        worker = replica.worker()
        running, = worker.ask("0.4")
        time.sleep(0.1)  # now it runs
        queued, kept = worker.ask("9", "0")
        worker.send(wire.ids_frame(wire.CANCEL, [queued, running, 424242]))
        results = worker.results([running, queued, kept])
        assert [r["status"] for r in results] == [wire.OK, wire.CANCELLED, wire.OK]


def test_interrupt_raises_in_the_request_it_names_and_in_no_other():
    with Replica("""
        import time
        def predict(seconds):
            try:
                time.sleep(seconds)
            except Exception:
                return "swallowed"
            return seconds
        """) as replica:
        worker, supervisor = replica.worker(), replica.supervisor()
        request, = worker.ask("20")
        until(lambda: supervisor.method("interrupt", index=0, request=request)["json"]["interrupted"])
        assert worker.results([request])[0]["status"] == wire.CANCELLED
        assert supervisor.method("interrupt", index=0, request=request)["json"] == {"interrupted": False}
        other = worker.ask("0.3")
        assert supervisor.method("interrupt", index=0, request=request)["json"] == {"interrupted": False}
        assert worker.results(other)[0]["json"] == 0.3


def test_an_interrupted_row_leaves_its_batch():
    with Replica("""
        import time
        def predict(rows):
            time.sleep(max(rows))
            return rows
        """, mode="batch") as replica:
        worker, supervisor = replica.worker(), replica.supervisor()
        stuck, good = worker.ask("20", "0.1")
        until(lambda: supervisor.method("interrupt", index=0, request=stuck)["json"]["interrupted"])
        results = worker.results([stuck, good])
        assert (results[0]["status"], results[1]["json"]) == (wire.CANCELLED, 0.1)


def test_a_worker_that_does_not_leave_is_killed():
    with Replica("""
        import signal
        def predict(x):
            if x:
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
                while True: pass
            return x
        """) as replica:
        worker, supervisor = replica.worker(), replica.supervisor()
        request, = worker.ask("1")
        until(lambda: supervisor.method("interrupt", index=0, request=request, kill_after_ms=100)["json"]["interrupted"])
        assert supervisor.event("worker_exited")["signal"] == signal.SIGKILL
        assert replica.worker().value("0") == 0


def test_results_outlive_the_connection_and_attach_finds_them():
    with Replica(SLEEPER) as replica:
        old = replica.worker()
        done, = old.ask("0")
        old.results([done])
        running, queued = old.ask("0.4", "0.01")
        old.close()
        new = replica.worker()
        new.send(wire.ids_frame(wire.ATTACH, [done, running, queued, 777], seq=0))
        results = new.results([done, running, queued, 777])
        assert [r["status"] for r in results] == [wire.OK, wire.OK, wire.OK, wire.UNKNOWN]
        assert sorted(r["seq"] for r in results) == [1, 2, 3, 4]


def test_what_the_old_connection_brought_is_read_before_the_new_one_is_answered():
    with Replica(SLEEPER) as replica:
        old = replica.worker()
        first, = old.ask("0.3")
        unread, = old.ask("0.01")  # lies in the socket while the worker sleeps
        old.close()
        new = Client(os.path.join(replica.folder, "worker-0.sock"))
        new.send(wire.ids_frame(wire.ATTACH, [first, unread], seq=0))
        assert [r["status"] for r in new.results([first, unread])] == [wire.OK, wire.OK]


def test_a_newer_connection_replaces_one_that_is_still_open():
    with Replica("def predict(x): return x") as replica:
        old = replica.worker()
        old.value("1")
        new = replica.worker()
        new.send(wire.ids_frame(wire.ATTACH, [], seq=1))
        assert new.value("2") == 2
        with pytest.raises((EOFError, ConnectionError)):
            old.call("3")


def test_acknowledged_results_are_gone_and_others_are_not():
    with Replica("def predict(x): return x") as replica:
        old = replica.worker()
        first = old.call("1")[0]
        second = old.call("2", ack=first["seq"])[0]
        old.close()
        new = replica.worker()
        new.send(wire.ids_frame(wire.ATTACH, [first["id"], second["id"]], seq=0))
        results = new.results([first["id"], second["id"]])
        assert [r["status"] for r in results] == [wire.UNKNOWN, wire.OK]


def test_attach_sends_nothing_the_peer_has_processed():
    with Replica("def predict(x): return x") as replica:
        old = replica.worker()
        first, second = old.call("1")[0], old.call("2")[0]
        old.close()
        new = replica.worker()
        new.send(wire.ids_frame(wire.ATTACH, [], seq=first["seq"]))
        assert new.results([second["id"]])[0]["seq"] == second["seq"]
        assert not new._ready


def test_fresh_results_do_not_overtake_the_kept_ones_on_a_new_connection():
    with Replica(SLEEPER) as replica:
        old = replica.worker()
        done, = old.ask("0")
        old.results([done])
        running, queued = old.ask("0.2", "0")
        old.close()
        new = replica.worker()
        time.sleep(0.4)  # both end before anybody has asked for what is kept
        assert not new._ready
        new.send(wire.ids_frame(wire.ATTACH, [done, running, queued], seq=0))
        assert [r["seq"] for r in new.results([done, running, queued])] == [1, 2, 3]


def test_ping_is_answered():
    with Replica("def predict(x): return x") as replica:
        worker = replica.worker()
        worker.send(wire.frame(wire.PING, seq=42))
        assert worker.frame_seen(wire.PONG) == [(wire.PONG, 42)]


@pytest.mark.parametrize("versions, agreed", [([1, 1], True), ([1, 2], True), ([2, 3], False), ([0, 0], False), ("x", False)])
def test_neighbouring_versions_understand_each_other(versions, agreed):
    with Replica("def predict(x): return x") as replica:
        replica.worker().close()
        client = Client(os.path.join(replica.folder, "worker-0.sock"), greet=False)
        client.send(wire.json_frame(wire.HELLO, {"versions": versions, "role": "node", "id": "n", "later": {}}))
        client.send(wire.frame(14, b"from a later version", flags=wire.FLAG_IGNORABLE))
        if agreed:
            assert client.value("1") == 1
        else:
            with pytest.raises((EOFError, ConnectionError)):
                client.call("1")


@pytest.mark.parametrize("nonsense", [
    b"\xff" * 64, wire.frame(99), wire.frame(wire.REQUESTS, b"short", 3),
    wire.frame(wire.REQUESTS, wire.REQUEST.pack(1, 0, 50, 0, 0) + b"12", 1), wire.frame(wire.CANCEL, b"123", 1)])
def test_nonsense_costs_the_connection_only(nonsense):
    with Replica("def predict(x): return x") as replica:
        worker = replica.worker()
        worker.send(nonsense)
        with pytest.raises((EOFError, ConnectionError)):
            worker.call("1")
        assert replica.worker().value("1") == 1


def test_sigterm_ends_everything_quickly():
    with Replica(SLEEPER, slots=2) as replica:
        workers = [replica.worker(i) for i in range(2)]
        workers[0].ask("30")
        replica.process.send_signal(signal.SIGTERM)
        assert replica.process.wait(10) == 0
        for worker in workers:
            until(lambda pid=worker.hello["pid"]: not os.path.exists("/proc/%d" % pid))


def test_stop_by_call():
    with Replica(SLEEPER) as replica:
        replica.worker()
        assert replica.supervisor().method("stop")["status"] == wire.OK
        assert replica.process.wait(10) == 0


def test_workers_do_not_outlive_a_killed_supervisor():
    with Replica(SLEEPER) as replica:
        pid = replica.worker().hello["pid"]
        replica.process.kill()
        replica.process.wait()
        until(lambda: _gone(pid))


def test_what_a_worker_has_started_goes_with_it():
    with Replica("""
        import os, subprocess
        def predict(die):
            if die: os._exit(1)
            return subprocess.Popen(["sleep", "1000"]).pid
        """) as replica:
        worker, supervisor = replica.worker(), replica.supervisor()
        child = worker.value("0")
        worker.ask("1")
        supervisor.event("worker_exited")
        until(lambda: _gone(child))


def test_listening_sockets_are_not_inherited_by_the_users_programs():
    with Replica("""
        import os, subprocess
        def predict():
            out = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, stdout=subprocess.PIPE).stdout
            return out.decode().count("socket:")
        """) as replica:
        assert replica.worker().value("") == 0


def test_a_worker_is_offered_to_the_oom_killer_before_the_supervisor():
    with Replica("def predict(): return int(open('/proc/self/oom_score_adj').read())") as replica:
        with open("/proc/%d/oom_score_adj" % replica.process.pid) as file:
            assert replica.worker().value("") > int(file.read())


def _gone(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_runs_without_site_packages():
    with Replica("def predict(x): return x", python=[sys.executable, "-S", "-E"]) as replica:
        assert replica.worker().value("1") == 1


def test_wrong_configuration_is_told(tmp_path):
    main = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "main.py")
    run = subprocess.run([sys.executable, main], stderr=subprocess.PIPE, timeout=20)
    assert run.returncode == 2 and b"HEARTH_RUNNER is not set" in run.stderr


def test_a_peer_that_does_not_read_stops_nobody():
    with Replica("def predict(n): return 'x' * n") as replica:
        worker = replica.worker()
        ids = worker.ask(*["1000000"] * 8)
        time.sleep(0.3)
        assert [len(r["json"]) for r in worker.results(ids)] == [1000000] * 8
