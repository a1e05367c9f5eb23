"""clang-tidy over every translation unit of the product (not of its tests), remembering what was clean.

Nearly all its time goes into the headers a unit includes, so the units of a folder are looked at together, as one file
that includes them. A unit that does not go with the others (two anonymous namespaces with the same name in them) goes
into the folder's next file. A file is looked at again when anything that decides the outcome changed: clang-tidy's
version, .clang-tidy, the compile command, or the preprocessed source with its comments (a NOLINT is one) and macros.
Only clean ones are remembered, for every clone of this user.
Environment: LINT_DEEP=1 adds the static analyzer, LINT_JOBS sets how many run at once. Arguments: units to look at
instead of all.
"""

import hashlib
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
TOGETHER = BUILD / "lint"  # the files that include units
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearth-lint"
TIDY = "clang-tidy-19"
REMEMBERED_FOR_S = 30 * 24 * 3600
UNITS_TOGETHER = 24
DEEP = ["--checks=clang-analyzer-*,-clang-analyzer-optin.core.EnumCastOutOfRange"] if os.environ.get("LINT_DEEP") == "1" else []


def output_of(argv, folder=ROOT):
    return subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def units():
    if sys.argv[1:]:
        return sys.argv[1:]
    names = output_of(["git", "ls-files", "-co", "--exclude-standard", "src/*.cpp", "app/*.cpp"]).decode().splitlines()
    return [n for n in names if not n.endswith("_test.cpp") and "/testing/" not in n and (ROOT / n).is_file()]


def commands():
    """{unit: what compiles it, less its own name and its output's}"""
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        command = shlex.split(entry["command"])
        while Path(command[0]).name == "ccache":
            command = command[1:]
        found[os.path.relpath(entry["file"], ROOT)] = tuple(command[: command.index("-o")])
    return found


def groups(todo, command_of):
    """Units of one folder that are compiled alike, a few at a time: (name, command, units)"""
    alike = defaultdict(list)
    for unit in todo:
        alike[os.path.dirname(unit), command_of[unit]].append(unit)
    for number, ((folder, command), members) in enumerate(alike.items()):
        for begin in range(0, len(members), UNITS_TOGETHER):
            yield f"{folder.replace('/', '-')}-{number}-{begin}", command, members[begin : begin + UNITS_TOGETHER]


def write_together(name, members):
    file = TOGETHER / f"{name}.cpp"
    file.write_text("".join(f'#include "{ROOT / unit}"  // NOLINT(bugprone-suspicious-include)\n' for unit in members))
    return file


def misfits(file, command, members):
    """Those of the units that the compiler refuses in the company of the others."""
    compiled = subprocess.run([*command, "-w", "-ferror-limit=0", "-fsyntax-only", file], cwd=BUILD, capture_output=True, text=True)
    if compiled.returncode == 0:
        return []
    blamed = set(re.findall(r"^(\S+?):\d+:\d+: (?:fatal )?error: ", compiled.stderr, re.M))
    return [unit for unit in members if str(ROOT / unit) in blamed] or members[1:] or members


def put_together(name, command, members):
    """As many of the units as go together, and the file that includes them; no file when one does not compile alone."""
    while True:
        file = write_together(name, members)
        apart = misfits(file, command, members)
        if not apart:
            return file, members
        if len(members) == 1:
            return None, members
        members = [unit for unit in members if unit not in apart] or members[:1]


def lint(name, command, members):
    """The findings in these units as lines; none when they are clean."""
    findings = []
    while members:
        file, together = put_together(name, command, members)
        findings += lint_file(file, command) if file else [f"{together[0]}: does not compile"]
        members, name = [unit for unit in members if unit not in together], name + "x"
    return findings


def preprocessed(file, command):
    """With its comments, and those within macros unless Boost.Preprocessor, which they break, is among them."""
    try:
        return output_of([*command, "-w", "-E", "-P", "-CC", "-dD", file], BUILD)
    except subprocess.CalledProcessError:
        return output_of([*command, "-w", "-E", "-P", "-C", "-dD", file], BUILD)


def lint_file(file, command):
    digest = hashlib.sha256(RULES + " ".join(command).replace(str(ROOT), ".").encode())
    digest.update(preprocessed(file, command).replace(str(ROOT).encode(), b"."))
    marker = CACHE / digest.hexdigest()
    if marker.exists():
        marker.touch()
        return []
    tidy = subprocess.run([TIDY, "--quiet", *DEEP, file, "--", *command[1:]], cwd=BUILD, capture_output=True, text=True)
    lines = (tidy.stdout + tidy.stderr).splitlines()
    findings = [line for line in lines if re.match(r"\S+:\d+:\d+: (warning|error): ", line)]
    if tidy.returncode == 0 and not findings:
        marker.touch()
        return []
    return findings or [f"{file}: {TIDY} ended with status {tidy.returncode}", *lines[-20:]]


def main():
    for folder in (CACHE, TOGETHER):
        folder.mkdir(parents=True, exist_ok=True)
    for marker in CACHE.iterdir():
        if time.time() - marker.stat().st_mtime > REMEMBERED_FOR_S:
            marker.unlink()
    command_of, todo = commands(), units()
    unbuilt = [unit for unit in todo if unit not in command_of]
    if unbuilt:
        sys.exit(f"lint: no target builds {', '.join(unbuilt)}")
    findings, looked_at = {}, 0
    with ThreadPoolExecutor(int(os.environ.get("LINT_JOBS", "2"))) as pool:
        all_groups = list(groups(todo, command_of))
        for found, (_, _, members) in zip(pool.map(lambda group: lint(*group), all_groups), all_groups):
            new = [line for line in dict.fromkeys(found) if line not in findings]  # a header's is found by all its users
            findings.update(dict.fromkeys(new))
            looked_at += len(members)
            print("\n".join([*new, f"lint: {looked_at} of {len(todo)}, {len(findings)} findings"]), flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"lint: {(used.ru_utime + used.ru_stime) / 60:.1f} minutes of CPU time")
    if findings:
        sys.exit(f"lint: {len(findings)} findings")
    print(f"lint: {len(todo)} files clean")


RULES = output_of([TIDY, "--version"]) + (ROOT / ".clang-tidy").read_bytes() + " ".join(DEEP).encode()
main()
