"""A model's result → JSON text, and JSON arguments → Python values.

What is not JSON by itself becomes what users expect (docs/runner.md has the table); what cannot is refused with the
place inside the result. The fast path is one pass of the C encoder; the slow path runs only to find and name a fault,
or for keys and strings the C encoder does not take.
"""
import binascii
import json
import json.decoder
import json.encoder
import math

from .errors import Unsendable

_markers = {}
_converters = {}  # type → function or None, filled as types are met
_scan = json.decoder.JSONDecoder().scan_once


# --- arguments ---

class Malformed(Exception):
    pass


def parse(text):
    """One JSON text (str) without white space around it. Raises ValueError or RecursionError."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("no JSON value at character %d" % 0) from None
    if end != len(text):
        raise ValueError("text after the JSON value, at character %d" % end)
    return value


def parse_arguments(payload):
    """b'1,2' → [1, 2]. Raises Malformed."""
    if not payload:
        return []
    try:
        value = json.loads("[" + payload.decode("utf-8") + "]")
    except (ValueError, RecursionError) as error:
        raise Malformed("the arguments are no JSON: %s" % (error,)) from None
    return value


def parse_joint(payloads):
    """The arguments of many rows in one pass; None when that is impossible and each has to be parsed alone."""
    try:
        rows = parse((b"[[" + b"],[".join(payloads) + b"]]").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return rows if len(rows) == len(payloads) else None


# --- results ---

def _make_fast_encoder():
    make = json.encoder.c_make_encoder
    if make is not None:
        try:
            encoder = make(_markers, _default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
            if "".join(encoder([1.5, {"a": None}], 0)) == '[1.5,{"a":null}]':
                return encoder
        except (TypeError, AttributeError):
            pass
    slow = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default)
    return lambda value, _level: (slow.encode(value),)


def encode(value):
    """JSON text of one result, as bytes. Raises Unsendable."""
    if value is None:
        return b"null"
    try:
        return "".join(_encode(value, 0)).encode("utf-8")
    except BaseException as error:
        _markers.clear()
        if not isinstance(error, Exception):
            raise
    return _encode_slowly(value)


def rows_of(results, count):
    """What a batch handler returned → a list with one result a row. Raises Unsendable."""
    if type(results) not in (list, tuple):
        convert = _converter(type(results))
        if convert is None or isinstance(results, (dict, str, bytes, set, frozenset)):
            raise Unsendable("a batch handler returns a list with one result for each row, not a %s"
                             % _name(type(results)))
        try:
            results = convert(results)
        except TypeError as error:
            raise Unsendable("the result is no JSON: %s" % error) from None
        if not isinstance(results, list):
            raise Unsendable("a batch handler returns a list with one result for each row, not one value")
    if len(results) != count:
        raise Unsendable("the handler was given %d rows and returned %d results; it has to return exactly one for each"
                         % (count, len(results)))
    return results


def _default(value):
    """The C encoder's hook for what it does not know."""
    convert = _converter(type(value))
    if convert is None:
        raise TypeError("a %s is no JSON" % _name(type(value)))
    return convert(value)


def _converter(kind):
    try:
        return _converters[kind]
    except KeyError:
        found = _converters[kind] = _find_converter(kind)
        return found


def _name(kind):
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else "%s.%s" % (module, kind.__qualname__)


def _find_converter(kind):
    """By names along the base classes, so that no library is imported only to recognise it."""
    for base in kind.__mro__:
        found = _BY_NAME.get((base.__module__.partition(".")[0], base.__name__))
        if found:
            return found
    if hasattr(kind, "__dataclass_fields__"):
        return lambda value: {name: getattr(value, name) for name in value.__dataclass_fields__}
    for method in ("model_dump", "to_dicts", "to_pylist", "tolist", "to_list"):
        if callable(getattr(kind, method, None)):
            return lambda value, method=method: getattr(value, method)()
    if hasattr(kind, "__fspath__"):
        return lambda value: value.__fspath__()
    return None


def _bytes(value):
    data = bytes(value)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return binascii.b2a_base64(data, newline=False).decode("ascii")


def _decimal(value):
    if not value.is_finite():
        raise TypeError("the decimal %s is no JSON" % value)
    if value == value.to_integral_value() and value.adjusted() < 300:
        return int(value)
    near = float(value)
    return near if type(value)(repr(near)) == value else str(value)


def _set(value):
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _complex(value):
    raise TypeError("a complex number is no JSON")


def _array(value):
    kind = value.dtype.kind
    if kind in "Mm":
        if kind == "m":
            return _without_missing((value / _numpy_second(value)).tolist())
        return _without_missing(value.astype("datetime64[us]").astype(str).tolist(), "NaT")
    if kind == "c":
        raise TypeError("an array of complex numbers is no JSON")
    return value.tolist()


def _numpy_second(value):
    import numpy

    return numpy.timedelta64(1, "s")


def _without_missing(value, missing=None):
    if isinstance(value, list):
        return [_without_missing(item, missing) for item in value]
    return None if value == missing or value != value else value


def _scalar(value):
    kind = value.dtype.kind
    if kind in "Mm":
        return _array(value)
    if kind == "V":
        return value.tolist()
    plain = value.item()
    if type(plain) is type(value):  # numpy.longdouble
        return float(plain)
    return _complex(plain) if isinstance(plain, complex) else plain


def _frame(value):
    """A list of records; missing values are null."""
    missing = value.isna()
    if missing.to_numpy().any():
        value = value.astype(object).where(~missing, None)
    return value.to_dict("records")


def _series(value):
    missing = value.isna()
    if missing.any():
        if not hasattr(value, "where") or not hasattr(value, "index"):
            return [None if absent else item for item, absent in zip(value.tolist(), missing)]
        value = value.astype(object).where(~missing, None)
    return value.tolist()


def _index(value):
    return [None if absent else item for item, absent in zip(value.tolist(), value.isna())]


def _tensor(value):
    return value.detach().cpu().tolist()


_BY_NAME = {
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "memoryview"): _bytes,
    ("builtins", "complex"): _complex,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _set,
    ("builtins", "range"): list,
    ("builtins", "dict_keys"): list,
    ("builtins", "dict_values"): list,
    ("builtins", "mappingproxy"): dict,
    ("collections", "deque"): list,
    ("collections", "UserDict"): dict,
    ("collections", "UserList"): list,
    ("collections", "ChainMap"): dict,
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): float,
    ("uuid", "UUID"): str,
    ("pathlib", "PurePath"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("types", "SimpleNamespace"): lambda value: dict(vars(value)),
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): _scalar,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _index,
    ("pandas", "NaTType"): lambda value: None,
    ("pandas", "NAType"): lambda value: None,
    ("pandas", "Categorical"): lambda value: _without_missing(value.tolist()),
    ("pandas", "Period"): str,
    ("pandas", "Interval"): str,
    ("torch", "Tensor"): _tensor,
    ("scipy", "sparray"): lambda value: value.toarray().tolist(),
    ("scipy", "spmatrix"): lambda value: value.toarray().tolist(),
}

_encode = _make_fast_encoder()


# --- the slow path: names the place of a fault ---

def _encode_slowly(value):
    try:
        plain = _plain(value, "result", [])
        return json.dumps(plain, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise Unsendable("the result is no JSON: it is nested too deeply") from None
    except Unsendable:
        raise
    except Exception as error:
        raise Unsendable("the result is no JSON: %s: %s" % (type(error).__name__, error)) from None


def _refuse(path, what):
    raise Unsendable("the result is no JSON: %s is %s" % (path, what))


def _plain(value, path, parents):
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        what = "NaN" if value != value else "infinite"
        _refuse(path, "%s, which JSON does not have; return None in its place" % what)
    if id(value) in parents:
        _refuse(path, "a reference back to what contains it")
    parents.append(id(value))
    try:
        if isinstance(value, dict):
            return {_key(key, path): _plain(item, "%s[%s]" % (path, _shown(key)), parents)
                    for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(item, "%s[%d]" % (path, at), parents) for at, item in enumerate(value)]
        convert = _converter(type(value))
        if convert is None:
            _refuse(path, "a %s; return numbers, strings, lists or dictionaries" % _name(type(value)))
        try:
            converted = convert(value)
        except TypeError as error:
            _refuse(path, "a %s: %s" % (_name(type(value)), error))
        return _plain(converted, path, parents)
    finally:
        parents.pop()


def _shown(key):
    text = repr(key)
    return text if len(text) <= 40 else text[:37] + "..."


def _key(key, path):
    """Keys as json.dumps makes them: numbers, booleans and None become their JSON text."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int)):
        return key
    if isinstance(key, float):
        return _plain(key, "the key %s of %s" % (_shown(key), path), [])
    convert = _converter(type(key))
    plain = convert(key) if convert else None
    if isinstance(plain, (str, int, float)):
        return plain
    _refuse("the key %s of %s" % (_shown(key), path), "a %s; keys are strings or numbers" % _name(type(key)))
