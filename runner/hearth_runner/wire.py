"""The wire protocol, version 1 (docs/formats/wire.md): the Python twin of src/wire. No sockets here."""
import json
import struct

VERSIONS = (1, 1)

HELLO, REQUESTS, RESULTS, ACK, CREDITS, CANCEL, PROGRESS, ATTACH, EVENT, OPEN, PING, PONG, GOODBYE = range(1, 14)

(OK, RAISED, MALFORMED, UNSENDABLE, DEADLINE, CANCELLED, WORKER_DIED, OVERLOADED, NOT_READY, UNKNOWN,
 INTERNAL) = range(11)

INFERENCE, CALL = 0, 1

FLAG_IGNORABLE = 0x80
MAX_FRAME = 64 << 20
HEADER = struct.Struct("<IBBHQ")
REQUEST = struct.Struct("<QIIIB3x")
RESULT = struct.Struct("<QBBHIIIIIII")
CREDIT = struct.Struct("<II")
ID = struct.Struct("<Q")


class ProtocolError(Exception):
    """The peer's bytes make no sense; the connection is to be closed."""


def frame(kind, body=b"", count=0, seq=0, flags=0):
    return HEADER.pack(len(body), kind, flags, count, seq) + body


def json_frame(kind, value, seq=0):
    return frame(kind, json.dumps(value, separators=(",", ":")).encode("utf-8", "backslashreplace"), 0, seq)


def credits_frame(limit, target=0):
    return frame(CREDITS, CREDIT.pack(target, limit), 1)


def requests_frame(requests, ack=0):
    """`requests`: (id, target, payload, deadline_ms, kind)."""
    entries = [REQUEST.pack(r[0], r[1], len(r[2]), r[3], r[4]) for r in requests]
    return frame(REQUESTS, b"".join(entries) + b"".join([r[2] for r in requests]), len(requests), ack)


def results_frame(first_seq, entries, payloads):
    """`entries`: packed RESULT structs; `payloads`: value, stdout, stderr of each in order (empty ones may be left out)."""
    size = RESULT.size * len(entries)
    for payload in payloads:
        size += len(payload)
    return b"".join([HEADER.pack(size, RESULTS, 0, len(entries), first_seq)] + entries + payloads)


def ids_frame(kind, ids, seq=0):
    return frame(kind, b"".join([ID.pack(i) for i in ids]), len(ids), seq)


def agree_version(mine, theirs):
    """The version both use, or None."""
    agreed = min(mine[1], theirs[1])
    return agreed if agreed >= mine[0] and agreed >= theirs[0] else None


class Decoder:
    """Bytes in, whole frames out: (kind, count, seq, data, start, end), where data[start:end] is the body."""

    def __init__(self, limit=MAX_FRAME):
        self._limit = limit
        self._parts = []  # of one incomplete frame
        self._have = 0
        self._need = HEADER.size

    def feed(self, data):
        """Returns the frames completed by `data` (bytes). Raises ProtocolError."""
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return ()
            data = b"".join(self._parts)
            self._parts = []
        frames = []
        at = 0
        size = len(data)
        while True:
            left = size - at
            if left < 16:
                self._need = 16
                break
            length, kind, flags, count, seq = HEADER.unpack_from(data, at)
            if length > self._limit:
                raise ProtocolError("a frame of %d bytes exceeds the limit of %d" % (length, self._limit))
            if left < 16 + length:
                self._need = 16 + length
                break
            start = at + 16
            at = start + length
            if 0 < kind < 14:
                frames.append((kind, count, seq, data, start, at))
            elif not flags & FLAG_IGNORABLE:
                raise ProtocolError("a frame of unknown type %d" % kind)
        self._have = left
        if left:
            self._parts.append(data[at:] if at else data)
        return frames


def read_requests(count, data, start, end):
    """List of (id, target, payload, deadline_ms, kind)."""
    at = start + 24 * count
    if at > end:
        raise ProtocolError("the request entries do not fit")
    requests = []
    for rid, target, length, deadline_ms, kind in REQUEST.iter_unpack(data[start:at]):
        if kind > 1:
            raise ProtocolError("a request of unknown kind")
        requests.append((rid, target, data[at:at + length], deadline_ms, kind))
        at += length
    if at != end:
        raise ProtocolError("the payload lengths do not add up")
    return requests


def read_results(count, seq, data, start, end):
    """List of dictionaries; for tests and re-sending, not for speed."""
    at = start + RESULT.size * count
    if at > end or (count and not seq):
        raise ProtocolError("the result entries do not fit")
    results = []
    for fields in RESULT.iter_unpack(data[start:at]):
        result = dict(zip(("id", "status", "flags", "batch", "value_len", "stdout_len", "stderr_len", "run_us", "cpu_us",
                           "wait_us", "rss_kib"), fields))
        if result["status"] > INTERNAL:
            raise ProtocolError("a result of unknown status")
        for name in ("value", "stdout", "stderr"):
            length = result.pop(name + "_len")
            result[name] = data[at:at + length]
            at += length
        result["seq"] = seq
        seq += 1
        results.append(result)
    if at != end:
        raise ProtocolError("the payload lengths do not add up")
    return results


def read_ids(count, data, start, end):
    if end - start != count * 8:
        raise ProtocolError("the ids do not fit")
    return [fields[0] for fields in ID.iter_unpack(data[start:end])]


def read_credits(count, data, start, end):
    if end - start != count * 8:
        raise ProtocolError("the credits do not fit")
    return list(CREDIT.iter_unpack(data[start:end]))


def read_json(data, start, end):
    try:
        value = json.loads(data[start:end].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a frame is no JSON: %s" % error)
    if not isinstance(value, dict):
        raise ProtocolError("a frame is no JSON object")
    return value


class KeptResults:
    """Result frames numbered from 1 and kept, whole, until acknowledged."""

    def __init__(self):
        self.next_seq = 1
        self.bytes = 0
        self._frames = []  # (last seq, frame), oldest first

    def keep(self, entries, payloads):
        """Numbers the results and returns their frame."""
        made = results_frame(self.next_seq, entries, payloads)
        self.next_seq += len(entries)
        self._frames.append((self.next_seq - 1, made))
        self.bytes += len(made)
        return made

    def acknowledge(self, seq):
        if seq >= self.next_seq:
            return  # never given out
        frames = self._frames
        drop = 0
        while drop < len(frames) and frames[drop][0] <= seq:
            self.bytes -= len(frames[drop][1])
            drop += 1
        if drop:
            del frames[:drop]

    def after(self, seq):
        """The frames that hold results after `seq`. A frame of which a part was processed comes whole: the receiver
        drops numbers it has seen."""
        if seq >= self.next_seq:
            seq = 0
        return [made for last, made in self._frames if last > seq]

    def ids(self):
        found = set()
        for _, made in self._frames:
            _, _, _, count, seq = HEADER.unpack_from(made)
            found.update(r["id"] for r in read_results(count, seq, made, 16, len(made)))
        return found
