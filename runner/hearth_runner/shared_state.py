"""Memory shared by supervisor and workers: what each worker is doing, readable while its interpreter is stuck in C."""
import mmap

from . import config

STATES = ("loading", "ready", "unready", "failed")

_STATE, _TARGET, _SERVED, _COUNT, _IDS = 0, 1, 2, 3, 4  # offsets in 64-bit words
_WORDS = _IDS + config.MAX_BATCH_LIMIT


class SharedState:
    def __init__(self, workers):
        self._memory = memoryview(mmap.mmap(-1, workers * _WORDS * 8)).cast("Q")

    def worker(self, index):
        return WorkerState(self._memory[index * _WORDS:(index + 1) * _WORDS])


class WorkerState:
    def __init__(self, words):
        self._words = words
        self.running = words[_IDS:]  # row mode writes running[0]: the id of the request in progress, 0 for none

    def reset(self):
        """For a new worker process."""
        self._words[_STATE] = self._words[_TARGET] = self._words[_SERVED] = self.running[0] = 0
        self._words[_COUNT] = 1

    @property
    def state(self):
        return STATES[self._words[_STATE]]

    def set_state(self, state):
        self._words[_STATE] = STATES.index(state)

    def set_running(self, ids):
        """Batch mode: the ids of one joint call (an array of 64-bit words)."""
        self._words[_COUNT] = 0
        self.running[:len(ids)] = ids
        self._words[_COUNT] = len(ids)

    def set_idle(self):
        self._words[_COUNT] = 0

    def runs(self, request):
        return request != 0 and request in self.running[:self._words[_COUNT]].tolist()

    def running_ids(self):
        """Ids of the call in progress; empty between calls."""
        return [rid for rid in self.running[:self._words[_COUNT]].tolist() if rid]

    @property
    def served(self):
        """Whether it has finished a call in this life."""
        return self._words[_SERVED] != 0

    def set_served(self):
        self._words[_SERVED] = 1

    # An interrupt: the supervisor names its target, the worker's signal handler compares.

    def set_target(self, request):
        self._words[_TARGET] = request

    def target(self):
        return self._words[_TARGET]
