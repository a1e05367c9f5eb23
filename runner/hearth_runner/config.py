"""What the node tells the runner: one JSON object in the environment variable HEARTH_RUNNER."""
import json
import os

VARIABLE = "HEARTH_RUNNER"
MAX_BATCH_LIMIT = 4096  # rows of one joint call; the shared memory of shared_state.py has room for so many ids


class Config:
    def __init__(self, fields):
        self.handler = fields["handler"]
        self.setup = fields.get("setup") or None
        self.ready = fields.get("ready") or None
        self.mode = fields.get("mode", "row")
        self.preload = bool(fields.get("preload", False))
        self.slots = int(fields.get("slots", 1))
        self.code = fields.get("code", "/model")
        self.control_fd = int(fields.get("control_fd", 3))
        self.worker_fds = [int(fd) for fd in fields["worker_fds"]]
        self.preload_imports = list(fields.get("preload_imports", []))
        self.max_batch = max(1, min(int(fields.get("max_batch", 256)), MAX_BATCH_LIMIT))
        self.stdout_limit = int(fields.get("stdout_limit", 64 * 1024))
        # Requests a worker takes before it has answered: enough that it never waits for its next frame.
        self.credits = int(fields.get("credits", 0)) or (32 if self.mode == "row" else 2 * self.max_batch)
        if self.mode not in ("row", "batch", "dataframe"):
            raise ValueError("mode %r is none of row, batch, dataframe" % (self.mode,))
        if len(self.worker_fds) != self.slots:
            raise ValueError("%d slots but %d worker_fds" % (self.slots, len(self.worker_fds)))


def from_environment():
    """Reads the configuration and hides it from the user's code."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        raise ValueError("%s is not set: the runner is started by a Hearth node" % VARIABLE)
    return Config(json.loads(text))
