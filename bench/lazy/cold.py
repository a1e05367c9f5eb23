"""Cold starts: every row brings the same image to the same first answer, over the same network."""
import os
import time

from machine import Failed, drop_caches, limit

PATIENCE_S = 300  # for one start
RESET_PATIENCE_S = 240


class ColdStarts:
    """Appends one record a start, or one that says why there is none, to `results`."""

    def __init__(self, network, cgroup, rows, results):
        self.network, self.cgroup, self.rows, self.results = network, cgroup, rows, results

    def run(self, works, nets, repetitions):
        prepared = {}
        for name, row in self.rows.items():
            try:
                with limit(3600, f"prepare {name}"):
                    row.prepare()
            except (Failed, OSError) as e:
                prepared[name] = str(e)
            finally:
                self.stop(row)
        for repetition in range(repetitions):  # outermost: slow drift of the machine hits every row alike
            for net in nets:
                for work in works:
                    for name, row in self.rows.items():
                        if row.repetitions is not None and repetition >= row.repetitions:
                            continue
                        where = {"part": "cold", "row": name, "work": work, "net": net, "repetition": repetition}
                        if name in prepared:
                            self.results.add(where | {"failed": prepared[name]})
                        else:
                            self.measure(row, where)

    def measure(self, row, where):
        work = where["work"]
        answers = set()
        try:
            self.network.set(where["net"])
            with limit(RESET_PATIENCE_S, "reset"):
                row.reset(work)
                drop_caches()
            for phase in ("cold", "warm", "disk"):
                if phase == "disk":
                    if row.name == "local":
                        break  # its cold start is one
                    drop_caches()
                record = self.timed(row.cold if phase == "cold" else row.again, work)
                answers.add(record.pop("answer"))
                self.results.add(where | {"phase": phase} | record)
            if len(answers) != 1:
                raise Failed(f"different answers: {answers}")
        except (Failed, OSError) as e:
            self.results.add(where | {"failed": f"{type(e).__name__}: {e}"[:800]})
        finally:
            self.network.set("0ms")
            self.stop(row)

    def stop(self, row):
        try:
            with limit(120, "stop"):
                row.stop()
        except (Failed, OSError) as e:
            print(f"{row.name}: {e}", flush=True)

    def timed(self, start, work):
        """From the command that fetches or mounts to the workload's first answer."""
        load = os.getloadavg()[0]
        self.network.reset()
        cpu, began = self.cgroup.cpu_s(), time.monotonic()
        record = {}

        def at_answer(line):
            record.update(seconds=time.monotonic() - began, cpu_s=self.cgroup.cpu_s() - cpu, load=load, **self.network.stats(),
                          line=line.strip(), answer=line.split(" import=")[0])

        with limit(PATIENCE_S, "start"):
            first_answer(start(work), at_answer)
        return record | {"down_at_end": self.network.stats()["down"], "kinds": self.network.sent_by_kind()}


def first_answer(process, at_answer=lambda line: None):
    """Waits for a container's end; returns the seconds from now to its first answer."""
    began, seconds = time.monotonic(), None
    for line in process.stdout:
        if line.startswith("READY") and seconds is None:
            seconds = time.monotonic() - began
            at_answer(line)
    errors = process.stderr.read()
    if process.wait() or seconds is None:
        raise Failed(f"status {process.returncode}, no answer: {errors[-600:]}")
    return seconds
