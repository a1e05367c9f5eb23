"""Cold starts of a trivial model, everything local: phases as the node measured them, the whole as the client saw it."""
import json
import statistics
import subprocess
import time

PHASES = ("queue", "fetch", "mount", "container", "runner", "import", "setup")
MODEL = "bench-cold"


class ColdStarts:
    """`call` asks the model once and returns when it has answered; `status` is the command that prints the replicas."""

    def __init__(self, call, status):
        self._call = call
        self._status = status
        self.samples = []

    def _replica(self):
        out = subprocess.run(self._status, check=True, stdout=subprocess.PIPE, text=True)
        found = [r for r in json.loads(out.stdout)["replicas"] if r["model"] == MODEL and r["state"] not in ("absent", "stopped")]
        return found[0] if found else None

    def run(self, starts):
        for _ in range(starts):
            while self._replica():  # its idle_stop takes it down
                time.sleep(0.1)
            time.sleep(0.3)
            began = time.perf_counter()
            self._call()
            whole = (time.perf_counter() - began) * 1000
            replica = self._replica()
            if not replica or not replica.get("start_ms"):
                continue  # it was stopped again before we could ask
            start = replica["start_ms"]
            sample = {phase: start.get(phase, 0.0) for phase in PHASES}
            # What the model's start does not explain: catalog and admission before it, the first call and the way back.
            sample["first inference"] = max(0.0, whole - start["total"])
            sample["whole"] = whole
            self.samples.append(sample)

    def median(self):
        return statistics.median(s["whole"] for s in self.samples) if self.samples else None

    def table(self):
        if not self.samples:
            return ""
        names = [*PHASES, "first inference", "whole"]
        rows = [("median", statistics.median), ("fastest", min), ("slowest", max)]
        lines = ["", f"### Cold start, ms ({len(self.samples)} starts)", "", "| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
        for name, pick in rows:
            lines.append(f"| {name} | " + " | ".join(f"{pick(s[n] for s in self.samples):.1f}" for n in names) + " |")
        return "\n".join(lines) + "\n"
