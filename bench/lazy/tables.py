"""Medians, ratios and tables of the records that a run has left."""
import statistics


def median(values):
    found = [v for v in values if v is not None]
    return statistics.median(found) if found else None


def pick(records, **wanted):
    return [r for r in records if "failed" not in r and all(r.get(k) == v for k, v in wanted.items())]


def by_repetition(records, key):
    return {r.get("repetition", 0): r[key] for r in records if r.get(key) is not None}


def ratio(ours, theirs, key="seconds"):
    """Median of the ratios within each repetition: runs of different repetitions lie minutes apart."""
    a, b = by_repetition(ours, key), by_repetition(theirs, key)
    return median(a[n] / b[n] for n in a.keys() & b.keys() if b[n])


def show(value, digits=1, scale=1):
    return "" if value is None else f"{value * scale:.{digits}f}"


def table(head, rows):
    """Markdown; the first column is text, the others numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


class ColdTable:
    """The cold starts of one workload on one net."""

    EAGER = ("eager", "containerd")

    def __init__(self, records, work, net):
        self.records = [r for r in records if r["part"] == "cold" and r["work"] == work and r["net"] == net]
        self.work, self.net = work, net
        self.rows = list(dict.fromkeys(r["row"] for r in self.records))

    def of(self, row, phase="cold"):
        return pick(self.records, row=row, phase=phase)

    def seconds(self, row, phase="cold"):
        return median(r["seconds"] for r in self.of(row, phase))

    def best_eager(self):
        eager = [r for r in self.rows if r.startswith(self.EAGER) and self.seconds(r)]
        return min(eager, key=self.seconds, default=None)

    def ratio(self, row, other="local", key="seconds"):
        return ratio(self.of(row), self.of(other), key) if other else None

    def markdown(self):
        head = ["row", "cold s", "min–max", "÷ local", "÷ best eager", "MB fetched", "requests", "CPU s", "CPU ÷ local", "again, page cache warm s",
                "again, disk cold s", "n"]
        lines = []
        for row in sorted((r for r in self.rows if self.seconds(r)), key=self.seconds):
            cold = self.of(row)
            took = [r["seconds"] for r in cold]
            lines.append([
                row, show(median(took), 2), f"{min(took):.1f}–{max(took):.1f}", show(self.ratio(row), 2), show(self.ratio(row, self.best_eager()), 2),
                show(median(r["down"] for r in cold), 0, 1e-6), show(median(r["requests"] for r in cold), 0),
                show(median(r["cpu_s"] for r in cold), 1), show(self.ratio(row, key="cpu_s"), 2),
                show(self.seconds(row, "warm"), 2), show(self.seconds(row, "disk"), 2), len(took)])
        return f"### {self.work}, {self.net}\n\n" + table(head, lines)
