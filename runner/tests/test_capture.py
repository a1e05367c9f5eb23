"""stdout, stderr and raw writes belong to the request that made them."""
import os

from replica import Replica, until, wire


def test_prints_raw_writes_and_children_are_captured_per_request():
    with Replica("""
        import os, subprocess, sys, logging
        logging.basicConfig(format="%(message)s")
        def predict(x):
            print("print", x)
            os.write(1, b"raw %d\\n" % x)
            subprocess.run(["sh", "-c", "echo child %d; echo oops %d >&2" % (x, x)])
            sys.stdout.buffer.write(b"buffer\\n")
            print("error", x, file=sys.stderr)
            logging.warning("logged %d", x)
        """) as replica:
        worker = replica.worker()
        for x, result in enumerate(worker.call("0", "1", "2")):
            assert result["stdout"] == b"print %d\nraw %d\nchild %d\nbuffer\n" % (x, x, x)
            assert result["stderr"] == b"oops %d\nerror %d\nlogged %d\n" % (x, x, x)


def test_workers_do_not_mix_their_output():
    with Replica("""
        import os, time
        def predict(x):
            for _ in range(20):
                print(x); os.write(2, b"%d" % x); time.sleep(0.001)
        """, slots=3) as replica:
        workers = [replica.worker(i) for i in range(3)]
        ids = [(w, i, w.ask(*[str(i)] * 5)) for i, w in enumerate(workers)]
        for worker, i, asked in ids:
            for result in worker.results(asked):
                assert result["stdout"] == b"%d\n" % i * 20
                assert result["stderr"] == b"%d" % i * 20


def test_output_of_a_failed_call_is_kept():
    with Replica("def predict(x):\n    print('before')\n    raise ValueError(x)") as replica:
        result = replica.worker().call("1")[0]
        assert (result["status"], result["stdout"]) == (wire.RAISED, b"before\n")


def test_output_is_cut_at_the_limit_and_says_so():
    with Replica("""
        import os
        def predict(raw):
            if raw: os.write(1, b"x" * 5000)
            else: print("x" * 4000, end=""); print("y" * 1000, end="")
        """, stdout_limit=1000) as replica:
        for result in replica.worker().call("true", "false"):
            assert result["stdout"] == b"x" * 1000 + b"\n[hearth: 4000 more bytes were cut]\n"
        last = replica.worker()
        last.send(wire.ids_frame(wire.ATTACH, []))  # results wait for it while earlier ones are kept
        assert last.call("true")[0]["stdout"].startswith(b"xxx")


def test_loading_output_stands_in_the_state_event():
    with Replica("""
        import sys
        print("importing")
        def setup(): print("setting up", file=sys.stderr)
        def predict(x): return x
        """, setup="model:setup") as replica:
        worker = replica.worker()
        told = next((e for e in worker.events if e["event"] == "state"), None) or worker.hello
        again = replica.worker().hello
        assert again["output"] == {"stdout": "importing\n", "stderr": "setting up\n"}
        assert told is not None
        assert worker.hello["boot"] == again["boot"]


def test_output_between_requests_is_no_requests_output():
    with Replica("""
        import threading, time
        def later():
            time.sleep(0.2)
            print("from a thread")
        def predict(x):
            threading.Thread(target=later).start()
            return x
        """) as replica:
        worker = replica.worker()
        assert worker.call("1")[0]["stdout"] == b""
        until(lambda: _sleep(0.5))
        assert worker.call("2")[0]["stdout"] == b""
        assert worker.event("output")["stdout"] == "from a thread\n"


def test_c_streams_arrive_with_their_own_request():
    with Replica("""
        import ctypes
        libc = ctypes.CDLL(None)
        def predict(x):
            libc.printf(b"from C %d\\n", x)
        """) as replica:
        results = replica.worker().call("1", "2")
        assert [r["stdout"] for r in results] == [b"from C 1\n", b"from C 2\n"]


def test_a_model_that_replaces_its_descriptors_still_answers():
    with Replica("""
        import os
        def predict(x):
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            print("lost")
            return x
        """) as replica:
        assert [r["json"] for r in replica.worker().call("1", "2")] == [1, 2]


def test_preloaded_loggers_are_not_silenced_by_earlier_output():
    code = """
        import logging, sys
        logging.basicConfig(format="%(message)s", stream=sys.stdout)
        logging.warning("x" * 900)
        def setup(): pass
        def predict(x): logging.warning("y" * 900)
        """
    with Replica(code, preload=True, setup="model:setup", stdout_limit=1000) as replica:
        worker = replica.worker()
        for _ in range(3):
            assert worker.call("1")[0]["stdout"] == b"y" * 900 + b"\n"


def _sleep(seconds):
    import time

    time.sleep(seconds)
    return True


def test_the_runner_hides_its_configuration():
    with Replica("import os\ndef predict(): return 'HEARTH_RUNNER' in os.environ") as replica:
        assert replica.worker().value("") is False
        assert "HEARTH_RUNNER" not in os.environ
