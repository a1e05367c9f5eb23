"""Errors as the wire carries them: one line, a type, and a stack trace that shows the user's frames only."""
import json
import os
import sys

STACK_LIMIT = 32 * 1024
_HERE = os.path.dirname(os.path.abspath(__file__))


class RequestCancelled(BaseException):
    """Raised in the main thread, in the middle of the call, when its caller has given up.

    A BaseException, so that `except Exception` in a model does not swallow it.
    """


class Unsendable(Exception):
    """A result that is no JSON and cannot become any; the message says where in the result and why."""


def one_line(error):
    """`ValueError: bad input`, always one line, never raising."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:
        text = "(its text cannot be made)"
    text = " ".join(text.split())
    return ("%s: %s" % (name, text) if text else name)[:2000]


def _is_ours(filename):
    return filename.startswith(_HERE) or filename.startswith("<frozen importlib")


def stack_of(error):
    """The traceback as Python prints it, without the runner's and the import system's own frames."""
    import traceback

    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        seen = set()
        part = told
        while part is not None and id(part) not in seen:
            seen.add(id(part))
            part.stack = traceback.StackSummary.from_list(
                [frame for frame in part.stack if not _is_ours(frame.filename)])
            part = part.__cause__ or part.__context__
        text = "".join(told.format())
    except BaseException:
        text = one_line(error) + "\n"
    if len(text) > STACK_LIMIT:
        text = text[:STACK_LIMIT // 2] + "\n[hearth: stack trace cut]\n" + text[-STACK_LIMIT // 2:]
    return text


def describe(error, context=None):
    """Dictionary for a state event or a result; `context` goes in front of the line."""
    line = one_line(error)
    return {"error": "%s: %s" % (context, line) if context else line, "type": type(error).__name__,
            "stack": stack_of(error)}


def to_json(value):
    return json.dumps(value).encode("ascii")


def log(text):
    """A line for the operator, on the container's own stderr."""
    try:
        os.write(log_fd, ("hearth-runner: %s\n" % text).encode("utf-8", "backslashreplace"))
    except OSError:
        pass


log_fd = 2


def keep_stderr_for_log():
    """Called once, before the descriptors 1 and 2 are captured."""
    global log_fd
    try:
        log_fd = os.dup(2)
    except OSError:
        log_fd = os.open(os.devnull, os.O_WRONLY)
    sys.stderr.flush() if sys.stderr else None
