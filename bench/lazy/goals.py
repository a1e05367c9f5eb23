"""The goals beside what was measured, and the tables of everything but the cold starts."""
from tables import median, pick, ratio, show, table

KERNEL = "auto"  # the back end that goals of the kernel path are about


class Goals:
    """(what, goal, measured, met) of everything this run has the numbers of."""

    def __init__(self):
        self.rows = []

    def at_most(self, what, limit, value):
        if value is not None:
            self.rows.append([what, f"≤ {limit}", f"{value:.2f}", "yes" if value <= limit else "**no**"])

    def at_least(self, what, limit, value):
        if value is not None:
            self.rows.append([what, f"≥ {limit}", f"{value:.2f}", "yes" if value >= limit else "**no**"])


def all_goals(records, cold_tables):
    goals = Goals()
    cold_goals(goals, cold_tables)
    byte_goals(goals, records, cold_tables)
    steady_goals(goals, records)
    weights_goals(goals, records)
    once_goals(goals, records)
    return goals.rows


# --- cold starts and their bytes


def cold_goals(goals, tables):
    for t in tables:
        where = f"{t.work}, {t.net}"
        goals.at_most(f"{where}: with its profile ÷ local", 1.1, t.ratio("hearth"))
        if t.work == "sk":
            goals.at_most(f"{where}: with the other workload's profile ÷ local", 1.1, t.ratio("hearth-other"))
        goals.at_most(f"{where}: first start, no profile ÷ local", 1.6, t.ratio("hearth-first"))
        goals.at_most(f"{where}: CPU with its profile ÷ local", 1.3, t.ratio("hearth", key="cpu_s"))
        goals.at_most(f"{where}: CPU of the first start ÷ local", 1.3, t.ratio("hearth-first", key="cpu_s"))


def byte_goals(goals, records, tables):
    for t in tables:
        least = median(r["zstd_bytes"] for r in pick(records, part="bound", work=t.work))
        for row, limit, what in (("hearth", 1.3, "with its profile"), ("hearth-first", 3, "first start")):
            fetched = median(r["down"] for r in t.of(row))
            if least and fetched:
                goals.at_most(f"{t.work}, {t.net}: bytes fetched ÷ touched pages compressed, {what}", limit, fetched / least)


def bound_table(records):
    rows = [[r["work"], f"{r['files']} of {r['image_files']}", f"{r['bytes'] / 1e6:.0f} of {r['image_bytes'] / 1e6:.0f}", show(r["zstd_bytes"], 0, 1e-6),
             show(r["seconds_without_readahead"])] for r in pick(records, part="bound")]
    if not rows:
        return ""
    return "\n## What the workloads really touch\n\n" + table(
        ["workload", "files", "MB of pages", "MB as one zstd stream", "s, without read-ahead"], rows)


# --- steady state


def steady_ratio(records, loop, cache, view, backend):
    runs = pick(records, part="steady", loop=loop, cache=cache, view=view, backend=backend)
    return ratio(pick(runs, tree="hearth"), pick(runs, tree="ext4"), "rate")


def steady_goals(goals, records):
    def least(limit, loops, view, backend, what):
        for loop in loops:
            for cache in ("cold", "warm"):
                goals.at_least(f"{what}: {loop}, page cache {cache}, ÷ ext4", limit, steady_ratio(records, loop, cache, view, backend))

    least(0.95, ("sequential", "random 4 KiB", "mmap"), "bare", KERNEL, "kernel path")
    least(0.95, ("import tf", "import sk"), "stack", KERNEL, "kernel path")
    least(0.8, ("stat", "readdir"), "stack", KERNEL, "kernel path, through overlayfs")
    least(0.5, ("sequential",), "bare", "fuse", "FUSE")


def steady_table(records):
    runs = pick(records, part="steady")
    rows = []
    for backend, view, loop, cache in dict.fromkeys((r["backend"], r["view"], r["loop"], r["cache"]) for r in runs):
        here = pick(runs, backend=backend, view=view, loop=loop, cache=cache)
        unit = ("MB/s", 1e-6) if here[0]["bytes"] else ("1/s", 1)
        speed = [median(r["rate"] for r in pick(here, tree=tree)) for tree in ("ext4", "hearth")]
        rows.append([f"{backend}, {view}, {loop}, {cache}", unit[0], *(show(s, 2 if loop.startswith("import") else 0, unit[1]) for s in speed),
                     show(steady_ratio(records, loop, cache, view, backend), 2)])
    if not rows:
        return ""
    return ("\n## Steady state: a complete layer beside the same tree on ext4\n\n*bare*: the mount itself; *stack*: below a container's overlayfs, both "
            "trees alike. Imports are whole starts of the workload.\n\n" + table(["back end, view, loop, page cache", "unit", "ext4", "hearth", "hearth ÷ ext4"], rows))


# --- weights


def weights_ratios(records):
    """{(backend, what): (median seconds, median of the others' seconds, ratio)}"""
    found = {}
    for r in pick(records, part="weights"):
        theirs = r["requests_seconds"] if r["from"] == "store" else r["ext4_seconds"]
        found.setdefault((r["backend"], f"from the {r['from']}" + (f", {r['net']}" if r["from"] == "store" else "")), []).append((r["seconds"], theirs))
    return {k: (median(a for a, _ in v), median(b for _, b in v), median(a / b for a, b in v)) for k, v in found.items()}


def weights_goals(goals, records):
    for (backend, what), (_, _, value) in weights_ratios(records).items():
        if backend == KERNEL:
            against = "parallel range requests" if "store" in what else "ext4"
            goals.at_most(f"512 MiB file {what} ÷ {against}", 1.2, value)


def weights_table(records):
    rows = [[f"{backend}, {what}", show(ours, 2), show(theirs, 2), show(value, 2)] for (backend, what), (ours, theirs, value) in weights_ratios(records).items()]
    if not rows:
        return ""
    return "\n## A 512 MiB file\n\n" + table(["back end, from", "hearth s", "range requests, or ext4, s", "÷"], rows)


# --- what happens once, and memory


def once_goals(goals, records):
    for r in pick(records, part="import"):
        goals.at_most("import ÷ best eager pull of the same image", 1, r["seconds"] / r["pull_seconds"])
    for r in pick(records, part="second", backend=KERNEL):
        goals.at_most("second model on the same base: MB fetched of packs that the first had opened", 0, r["shared_pack_bytes"] / 1e6)
    for r in pick(records, part="stream", backend=KERNEL):
        by_round = r["most_kb_by_round"]
        goals.at_most("imagefs memory after the last round of streaming ÷ after the first", 1.1, by_round[-1] / max(1, by_round[0]))


def once_table(records):
    rows = []
    for r in pick(records, part="import"):
        rows.append(["import of the image, s (best eager pull of it, s)", f"{r['seconds']:.1f} ({r['pull_seconds']:.1f})"])
        rows.append(["stored for it, MB", show(r["stored_bytes"], 0, 1e-6)])
        rows.append(["import of a second image on the same base, s; stored for it, MB", f"{r['second_seconds']:.1f}; {r['second_stored_bytes'] / 1e6:.1f}"])
    for r in pick(records, part="second"):
        kinds = ", ".join(f"{k} {v / 1e6:.1f}" for k, v in sorted(r["kinds"].items()))
        rows.append([f"second model on the same base ({r['backend']}): fetched, MB", f"{r['down'] / 1e6:.1f} ({kinds})"])
    for r in pick(records, part="mounts"):
        rows.append([f"mount of a small layer ({r['backend']}, {r['count']} of them), median (slowest), ms", f"{r['median_s'] * 1e3:.0f} ({r['slowest_s'] * 1e3:.0f})"])
        rows.append([f"memory of a mounted small layer ({r['backend']}): imagefs and holder (kernel), KiB", f"{r['kb_per_layer']:.0f} ({r['kernel_kb_per_layer']:.0f})"])
    for r in pick(records, part="stream"):
        rows.append([f"imagefs while {r['bytes'] / 1e9:.1f} GB are streamed ({r['backend']}): most memory after each round, MB; MB/s",
                     " ".join(f"{kb / 1024:.0f}" for kb in r["most_kb_by_round"]) + f"; {r['bytes'] / 1e6 / r['seconds']:.0f}"])
    return "\n## Import, sharing, memory\n\n" + table(["what", "measured"], rows) if rows else ""
