"""What becomes of results that are not JSON: the table of docs/runner.md."""
import json

import pytest
from replica import Replica, wire  # noqa: F401  (puts the runner on the path)

from hearth_runner import convert
from hearth_runner.errors import Unsendable


def sent(value):
    return json.loads(convert.encode(value).decode("utf-8"))


def evaluate(expression):
    names = {}
    exec("import array, base64, collections, dataclasses, datetime, decimal, enum, fractions, pathlib, types, uuid", names)
    exec("@dataclasses.dataclass\nclass Point:\n    x: int\n    y: object\n", names)
    exec("class Color(enum.Enum):\n    red = 'r'\nclass Level(enum.IntEnum):\n    low = 1\n", names)
    exec("Pair = collections.namedtuple('Pair', 'a b')", names)
    if "np." in expression or "pd." in expression:
        names["np"] = pytest.importorskip("numpy")
    if "pd." in expression:
        names["pd"] = pytest.importorskip("pandas")
    return eval(expression, names)


@pytest.mark.parametrize("expression, expected", [
    ("None", None), ("True", True), ("5", 5), ("2.5", 2.5), ("'é\\n'", "é\n"), ("(1, 2)", [1, 2]),
    ("{7: 'a', None: 2, True: 3, 2.5: 4}", {"7": "a", "true": 3, "null": 2, "2.5": 4}),
    ("10**30", 10**30), ("'\\ud800'", "\ud800"),
    ("{3, 1, 2}", [1, 2, 3]), ("frozenset(['a'])", ["a"]), ("range(3)", [0, 1, 2]),
    ("collections.deque([1])", [1]), ("collections.OrderedDict(a=1)", {"a": 1}), ("Pair(1, 2)", [1, 2]),
    ("{'a': 1}.keys()", ["a"]), ("array.array('d', [1.5])", [1.5]),
    ("b'text'", "text"), ("b'\\xff\\x00'", "/wA="), ("bytearray(b'x')", "x"), ("memoryview(b'x')", "x"),
    ("decimal.Decimal('1.50')", 1.5), ("decimal.Decimal('7')", 7), ("decimal.Decimal('0.1234567890123456789')",
                                                                    "0.1234567890123456789"),
    ("fractions.Fraction(1, 4)", 0.25), ("uuid.UUID(int=0)", "00000000-0000-0000-0000-000000000000"),
    ("pathlib.Path('/a')", "/a"), ("Point(1, Point(2, None))", {"x": 1, "y": {"x": 2, "y": None}}),
    ("Color.red", "r"), ("Level.low", 1), ("types.SimpleNamespace(a=1)", {"a": 1}),
    ("datetime.date(2026, 1, 2)", "2026-01-02"), ("datetime.datetime(2026, 1, 2, 3, 4)", "2026-01-02T03:04:00"),
    ("datetime.timedelta(minutes=1)", 60.0), ("datetime.time(1, 2)", "01:02:00"),
    ("np.float32(0.5)", 0.5), ("np.float64(0.1)", 0.1), ("np.int64(-3)", -3), ("np.bool_(True)", True),
    ("np.str_('a')", "a"), ("np.longdouble(1.5)", 1.5),
    ("np.arange(4).reshape(2, 2)", [[0, 1], [2, 3]]), ("np.array(5)", 5), ("np.array([True])", [True]),
    ("np.array(['2026-01-02', 'NaT'], dtype='datetime64[D]')", ["2026-01-02T00:00:00.000000", None]),
    ("np.array([90], dtype='timedelta64[s]')", [90.0]), ("np.datetime64('2026-01-02T03:04:05')",
                                                         "2026-01-02T03:04:05.000000"),
    ("np.array([{'a': 1}], dtype=object)", [{"a": 1}]), ("{np.int64(1): np.float32(2)}", {"1": 2}),
    ("{Color.red: 1, uuid.UUID(int=0): 2}", {"r": 1, "00000000-0000-0000-0000-000000000000": 2}),
    ("pd.DataFrame({'a': [1, 2], 'b': [0.5, None]})", [{"a": 1, "b": 0.5}, {"a": 2, "b": None}]),
    ("pd.DataFrame({'t': [pd.Timestamp('2026-01-02'), pd.NaT]})", [{"t": "2026-01-02T00:00:00"}, {"t": None}]),
    ("pd.Series([1.5, None])", [1.5, None]), ("pd.Series([1, None], dtype='Int64')", [1, None]),
    ("pd.Index(['a'])", ["a"]), ("pd.NA", None), ("pd.NaT", None), ("pd.Timestamp('2026-01-02')", "2026-01-02T00:00:00"),
    ("pd.Timedelta('1min')", 60.0), ("pd.Categorical(['a', None])", ["a", None]),
    ("pd.Series([], dtype=float)", []), ("pd.DataFrame()", []),
    ("[np.array([1]), {'x': pd.Series([2])}, (b'z',)]", [[1], {"x": [2]}, ["z"]]),
])
def test_converts(expression, expected):
    assert sent(evaluate(expression)) == expected


@pytest.mark.parametrize("expression, told", [
    ("float('nan')", "result is NaN"), ("{'p': [1.0, float('inf')]}", "result['p'][1] is infinite"),
    ("[{'scores': np.array([0.5, np.nan])}]", "result[0]['scores'][1] is NaN"),
    ("pd.DataFrame({'a': [float('inf')]})", "result[0]['a'] is infinite"),
    ("decimal.Decimal('NaN')", "decimal NaN"), ("1j", "complex"), ("np.array([1j])", "complex"),
    ("object()", "result is a object"), ("[lambda: 0]", "result[0] is a function"),
    ("(x for x in [1])", "result is a generator"), ("{(1, 2): 3}", "keys are strings or numbers"),
    ("{float('nan'): 1}", "is NaN"), ("print", "builtin_function"),
])
def test_refuses_and_names_the_place(expression, told):
    with pytest.raises(Unsendable) as caught:
        convert.encode(evaluate(expression))
    assert told in str(caught.value)
    assert convert.encode({"after": [1]}) == b'{"after":[1]}'


def test_refuses_circles_and_depth():
    circle = []
    circle.append({"again": circle})
    with pytest.raises(Unsendable, match="reference back"):
        convert.encode(circle)
    deep = []
    for _ in range(100000):
        deep = [deep]
    with pytest.raises(Unsendable, match="nested too deeply"):
        convert.encode(deep)


def test_the_same_object_twice_is_no_circle():
    part = {"nan": [1]}
    assert sent([part, part, (part, {1: part})]) == [part, part, [part, {"1": part}]]


def test_an_unsendable_row_fails_alone_in_a_batch():
    with Replica("def predict(rows): return [float('nan') if r else r for r in rows]", mode="batch") as replica:
        good, bad = replica.worker().call("0", "1")
        assert good["json"] == 0
        assert bad["status"] == wire.UNSENDABLE and "result is NaN" in bad["json"]["error"]


def test_joint_parse_is_refused_when_the_rows_do_not_add_up():
    assert convert.parse_joint([b"1", b"2,3", b""]) == [[1], [2, 3], []]
    assert convert.parse_joint([b"1],[2", b"3"]) is None
    assert convert.parse_joint([b"[", b"1"]) is None
