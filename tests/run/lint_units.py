"""clang-tidy over every translation unit of the product, remembering which were clean.

A unit is looked at again when anything that decides the outcome changed: clang-tidy's version, .clang-tidy, the compile
command, or the preprocessed source with its comments (a NOLINT is one) and macros. Only clean units are remembered.
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
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
CACHE = BUILD / "lint-cache"
TIDY = "clang-tidy-19"
REMEMBERED_FOR_S = 30 * 24 * 3600
DEEP = ["--checks=clang-analyzer-*,-clang-analyzer-optin.core.EnumCastOutOfRange"] if os.environ.get("LINT_DEEP") == "1" else []


def output_of(argv, folder=ROOT):
    return subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def commands():
    """{unit: its compile command}"""
    entries = json.loads((BUILD / "compile_commands.json").read_text())
    return {os.path.relpath(entry["file"], ROOT): shlex.split(entry["command"]) for entry in entries}


def units():
    if sys.argv[1:]:
        return sys.argv[1:]
    names = output_of(["git", "ls-files", "-co", "--exclude-standard", "src/*.cpp", "app/*.cpp"]).decode().splitlines()
    return [n for n in names if not n.endswith("_test.cpp") and (ROOT / n).is_file()]


def key_of(rules, command):
    preprocess = command[: command.index("-o")] + ["-E", "-P", "-CC", "-dD", command[-1]]
    digest = hashlib.sha256(rules)
    digest.update(" ".join(command).replace(str(ROOT), ".").encode())
    digest.update(output_of(preprocess, BUILD))
    return digest.hexdigest()


def lint(unit, rules, command):
    """The findings in one unit as lines; none when it is clean."""
    try:
        marker = CACHE / key_of(rules, command)
    except subprocess.CalledProcessError:
        return [f"{unit}: does not compile"]
    if marker.exists():
        marker.touch()
        return []
    tidy = subprocess.run([TIDY, "-p", BUILD, "--quiet", *DEEP, unit], cwd=ROOT, capture_output=True, text=True)
    lines = (tidy.stdout + tidy.stderr).splitlines()
    findings = [line for line in lines if re.match(r"\S+:\d+:\d+: (warning|error): ", line)]
    if tidy.returncode == 0 and not findings:
        marker.touch()
        return []
    return findings or [f"{unit}: {TIDY} ended with status {tidy.returncode}", *lines[-20:]]


def main():
    CACHE.mkdir(parents=True, exist_ok=True)
    for marker in CACHE.iterdir():
        if time.time() - marker.stat().st_mtime > REMEMBERED_FOR_S:
            marker.unlink()
    rules = output_of([TIDY, "--version"]) + (ROOT / ".clang-tidy").read_bytes() + " ".join(DEEP).encode()
    command_of, todo = commands(), units()
    unbuilt = [unit for unit in todo if unit not in command_of]
    if unbuilt:
        sys.exit(f"lint: no target builds {', '.join(unbuilt)}")
    findings, dirty = {}, 0
    with ThreadPoolExecutor(int(os.environ.get("LINT_JOBS", "2"))) as pool:
        running = {pool.submit(lint, unit, rules, command_of[unit]): unit for unit in todo}
        for done, future in enumerate(as_completed(running), 1):
            found = future.result()
            findings.update(dict.fromkeys(found))  # a finding in a header is found again by each of its users
            dirty += bool(found)
            if found:
                print(f"lint: {running[future]} has findings", flush=True)
            if done % 20 == 0:
                print(f"lint: {done} of {len(todo)}", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"lint: {(used.ru_utime + used.ru_stime) / 60:.1f} minutes of CPU time")
    if findings:
        print("\n".join(findings))
        sys.exit(f"lint: {dirty} of {len(todo)} files have findings")
    print(f"lint: {len(todo)} files clean")


main()
