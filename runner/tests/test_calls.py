"""Modes, arguments, errors and deadlines: what a caller sees."""
import time

import pytest
from replica import Replica, wire


def test_row_mode_passes_positional_arguments():
    with Replica("def predict(*args): return list(args)") as replica:
        worker = replica.worker()
        assert worker.value("5") == [5]
        assert worker.value('1,"two",{"three":[3]}') == [1, "two", {"three": [3]}]
        assert worker.value("") == []
        assert worker.value('"é \\u00e9"') == ["é é"]


def test_rows_of_one_frame_are_answered_in_order_with_consecutive_numbers():
    with Replica("def predict(x): return x * 2") as replica:
        worker = replica.worker()
        results = worker.call(*[str(i) for i in range(500)])
        assert [r["json"] for r in results] == [2 * i for i in range(500)]
        assert [r["seq"] for r in results] == list(range(1, 501))


@pytest.mark.parametrize("payload", ["1]", "[", "1,,2", "nul", '"', "1],[2", b"\xff"])
def test_a_malformed_row_fails_alone(payload):
    with Replica("def predict(x): return x") as replica:
        worker = replica.worker()
        good, bad, other = worker.call("1", payload, "3")
        assert (good["json"], other["json"]) == (1, 3)
        assert bad["status"] == wire.MALFORMED
        assert "no JSON" in bad["json"]["error"]


def test_an_exception_tells_message_type_and_the_users_frames_only():
    with Replica("""
        def divide(x):
            return 1 / x
        def predict(x):
            return divide(x)
        """) as replica:
        result = replica.worker().call("0")[0]
        assert result["status"] == wire.RAISED
        assert result["json"]["error"] == "ZeroDivisionError: division by zero"
        assert result["json"]["type"] == "ZeroDivisionError"
        stack = result["json"]["stack"]
        assert "return 1 / x" in stack and "in predict" in stack and "hearth_runner" not in stack


def test_wrong_arguments_are_the_callers_error_in_words():
    with Replica("def predict(a, b): return a") as replica:
        result = replica.worker().call("1")[0]
        assert result["status"] == wire.RAISED
        assert "missing 1 required positional argument: 'b'" in result["json"]["error"]


@pytest.mark.parametrize("statement, type_name", [
    ("raise SystemExit(3)", "SystemExit"), ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise MemoryError", "MemoryError"), ("return predict(x)", "RecursionError"),
    ("class E(Exception):\n        def __str__(self): raise ValueError\n    raise E", "E")])
def test_whatever_a_call_raises_the_worker_serves_on(statement, type_name):
    with Replica("def predict(x):\n    if x: return x\n    %s\n" % statement) as replica:
        worker = replica.worker()
        bad, good = worker.call("0", "1")
        assert (bad["status"], bad["json"]["type"]) == (wire.RAISED, type_name)
        assert good["json"] == 1


def test_batch_mode_takes_everything_queued_in_one_call():
    with Replica("""
        import time
        def predict(rows):
            time.sleep(0.1)
            return [[len(rows), row] for row in rows]
        """, mode="batch") as replica:
        worker = replica.worker()
        first = worker.ask("0")
        time.sleep(0.05)
        rest = worker.ask("1", "2,3", "", '{"a":4}') + worker.ask("5")
        assert worker.results(first)[0]["batch"] == 1
        results = worker.results(rest)
        assert [r["json"] for r in results] == [[5, 1], [5, [2, 3]], [5, []], [5, {"a": 4}], [5, 5]]
        assert {r["batch"] for r in results} == {5}


def test_a_joint_call_never_exceeds_max_batch():
    with Replica("def predict(rows): return [len(rows)] * len(rows)", mode="batch", max_batch=4) as replica:
        assert max(r["json"] for r in replica.worker().call(*["1"] * 10)) == 4


def test_in_a_batch_only_the_bad_row_fails():
    with Replica("""
        def predict(rows):
            print("called with", rows)
            return [1 // row for row in rows]
        """, mode="batch") as replica:
        worker = replica.worker()
        results = worker.call("1", "0", "]", "1")
        assert [r["status"] for r in results] == [wire.OK, wire.RAISED, wire.MALFORMED, wire.OK]
        assert "ZeroDivisionError" in results[1]["json"]["error"]
        assert [r["stdout"] for r in results] == [b"called with [1]\n", b"called with [0]\n", b"", b"called with [1]\n"]
        assert worker.value("1") == 1


@pytest.mark.parametrize("returned, told", [
    ("rows[:-1]", "given 2 rows and returned 1 results"), ("{'a': 1}", "not a dict"), ("'ab'", "not a str"),
    ("None", "not a NoneType"), ("7", "not a int")])
def test_a_batch_handler_has_to_return_one_result_for_each_row(returned, told):
    with Replica("def predict(rows): return %s" % returned, mode="batch") as replica:
        for result in replica.worker().call("1", "2"):
            assert result["status"] == wire.UNSENDABLE
            assert told in result["json"]["error"]


def test_run_times_of_a_batch_add_up_to_the_call():
    with Replica("""
        import time
        def predict(rows):
            until = time.perf_counter() + 0.2
            while time.perf_counter() < until: pass
            return rows
        """, mode="batch") as replica:
        results = replica.worker().call("1", "2", "3", "4")
        calls = len(results) / results[0]["batch"]
        assert 150_000 * calls < sum(r["run_us"] for r in results)
        assert sum(r["cpu_us"] for r in results) > 0 and results[0]["rss_kib"] > 1000


def test_dataframe_mode_gives_a_frame_and_takes_frame_series_or_list():
    pytest.importorskip("pandas")
    code = """
        def predict(df):
            if "as_frame" in df: return df
            if "as_series" in df: return df["a"] * 2
            return (df.sum(axis=1)).to_numpy()
        """
    with Replica(code, mode="dataframe") as replica:
        worker = replica.worker()
        assert worker.value('{"a":1,"b":2}') == 3
        assert worker.value('{"a":4,"as_series":true}') == 8
        assert worker.value('{"a":4,"b":null,"c":"x","as_frame":1}') == {"a": 4, "b": None, "c": "x", "as_frame": 1}
        assert worker.value("1,2,3") == 6
        joint = worker.call('{"a":1}', '{"a":2}', '"text",{}')
        assert [r["json"] for r in joint[:2]] == [1, 2]
        assert joint[2]["status"] == wire.MALFORMED and "one JSON object" in joint[2]["json"]["error"]


def test_a_call_whose_deadline_has_passed_never_begins():
    with Replica("""
        import time
        def predict(x):
            time.sleep(x)
            print("ran")
            return x
        """) as replica:
        worker = replica.worker()
        slow, late, patient = worker.ask("0.3"), worker.ask("0.01", deadline_ms=50), worker.ask("0.02", deadline_ms=20000)
        assert worker.results(late)[0]["status"] == wire.DEADLINE
        assert worker.results(slow + patient)[1]["json"] == 0.02


def test_wait_time_runs_from_receipt_to_the_call():
    with Replica("""
        import time
        def predict(x):
            time.sleep(0.1)
        """) as replica:
        first, second = replica.worker().call("1", "2")
        assert second["wait_us"] >= 90_000 > first["wait_us"]


def test_a_large_request_and_a_large_result_pass():
    with Replica("def predict(x): return x + x") as replica:
        text = "é" * 1_500_000
        worker = replica.worker()
        assert worker.value('"%s"' % text) == text + text


def test_a_result_over_the_frame_limit_is_refused():
    with Replica("def predict(x): return 'x' * (65 << 20)") as replica:
        result = replica.worker().call("1")[0]
        assert result["status"] == wire.UNSENDABLE and "can be sent" in result["json"]["error"]
