"""House rules as a test: a style rule without a check is a wish. STYLE.md says why each rule stands."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CXX = (".cpp", ".hpp")


def tracked(*suffixes):
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [ROOT / n for n in names if n.endswith(suffixes) and (ROOT / n).is_file()]


SOURCES = [p for p in tracked(*CXX) if p.relative_to(ROOT).parts[0] in ("src", "app", "fuzz")]


def where(path, line=None):
    name = str(path.relative_to(ROOT))
    return name if line is None else f"{name}:{line}"


def architecture_table():
    """{folder: set of folders it may include}, from the table of rooms in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \|[^|]*\| ([^|]*) \|$", text, re.M)
    return {folder: set(re.findall(r"`(\w+)`", allowed)) for folder, allowed in rows}


def closure(table, folder):
    seen, todo = set(), [folder]
    while todo:
        for below in table.get(todo.pop(), ()):
            if below not in seen:
                seen.add(below)
                todo.append(below)
    return seen


def lines_of(path):
    return enumerate(path.read_text(errors="replace").splitlines(), 1)


def test_the_map_of_folders_is_true():
    on_disk = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
    assert set(architecture_table()) == on_disk


def test_includes_point_only_where_the_table_allows():
    table = architecture_table()
    wrong = []
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] != "src":
            continue
        allowed = closure(table, parts[1]) | {parts[1]}
        for number, line in lines_of(path):
            match = re.match(r'#include "(\w+)/', line)
            if match and match.group(1) not in allowed:
                wrong.append(f"{where(path, number)} includes {match.group(1)}")
    assert not wrong, "\n".join(wrong)


def test_router_node_and_control_never_meet():
    table = architecture_table()
    for room in ("router", "node", "control"):
        assert not closure(table, room) & ({"router", "node", "control"} - {room})


# Third-party headers and the only places that may include them.
OWNERS = {
    r"boost/": {"src/net"},
    r"nghttp2/": {"src/net"},
    r"curl/": {"src/client", "src/blob"},
    r"CLI/": {"app"},
    r"toml\+\+|toml\.hpp": {"src/catalog"},
    r"prometheus/": {"src/base"},
    r"archive": {"src/oci"},
    r"zstd\.h": {"src/oci", "src/image", "src/record", "src/mount"},
    r"zlib\.h": {"src/oci", "src/image/testing"},
    r"isa-l/": {"src/oci"},
    r"fuse3/": {"src/mount"},
    r"openssl/": {"src/base"},
}
AWAITABLE = "boost/asio/awaitable.hpp"


def test_third_party_headers_stay_with_their_owner():
    wrong = []
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        for number, line in lines_of(path):
            match = re.match(r"#include <([^>]+)>", line)
            if not match or match.group(1) == AWAITABLE:
                continue
            for pattern, owners in OWNERS.items():
                if re.match(pattern, match.group(1)) and not any(name.startswith(o + "/") for o in owners | {"fuzz"}):
                    wrong.append(f"{where(path, number)}: <{match.group(1)}> belongs to {', '.join(sorted(owners))}")
    assert not wrong, "\n".join(wrong)


def test_heavy_headers_stay_out_of_headers():
    """json_*.hpp may include nlohmann, and only .cpp files may include those; fixtures, which only tests include, are free."""
    wrong = [
        where(path, number)
        for path in SOURCES
        if path.suffix == ".hpp" and path.relative_to(ROOT).parts[0] == "src" and "#include <gtest/" not in path.read_text()
        for number, line in lines_of(path)
        if re.match(r'#include (<(nlohmann/json\.hpp|boost/beast|boost/asio\.hpp|CLI/|toml)|"\w+/json_)', line)
        and not (path.name.startswith("json_") and "nlohmann" in line)
    ]
    assert not wrong, "\n".join(wrong)


BANNED = {
    r"\busing namespace\b": "name what you use",
    r"\bstd::(s?rand)\(": "use base/random_id.hpp",
    r"\bstrcpy\(|\bsprintf\(|\bstrcat\(": "use std::string",
    r"\bsystem\(": "use base/process.hpp",
    r"\batoi\(|\batol\(": "use std::from_chars",
    r"(?<!_ptr<)(?<!>\()\bnew\s+[A-Z]\w*[({]": "use std::make_unique (a private constructor: std::unique_ptr<T>(new T(…)))",
    r"\bdelete\s+\w": "let an owner's destructor do it",
    r"std::endl": "write '\\n'",
    r"std::atomic<std::shared_ptr": "post a snapshot to the loop instead: libstdc++ 12's own is a race under TSan",
    r"\b(TODO|FIXME|XXX)\b": "open an issue",
    r"#pragma clang diagnostic ignored": "mend the cause",
}


def test_banned_words_have_a_replacement():
    wrong = []
    for path in SOURCES:
        for number, line in lines_of(path):
            code = line.split("//")[0] if "TODO" not in line and "FIXME" not in line else line
            for pattern, instead in BANNED.items():
                if re.search(pattern, code):
                    wrong.append(f"{where(path, number)}: {line.strip()} -- {instead}")
    assert not wrong, "\n".join(wrong)


def test_policy_is_pure():
    """No clock, thread, socket or global in policy: decisions are replayable."""
    forbidden = re.compile(r"mono_now|wall_now|steady_clock::now|std::thread|std::mutex|std::atomic|<sys/|<unistd|random_")
    wrong = [
        where(path, number)
        for path in SOURCES
        if path.relative_to(ROOT).parts[:2] == ("src", "policy") and not path.name.endswith("_test.cpp")
        for number, line in lines_of(path)
        if forbidden.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_one_co_await_a_statement_in_its_plain_forms():
    plain = re.compile(
        r"^\s*(co_await [^?{]*;|co_return co_await [^?{]*;|[\w:<>,&*\s\[\]\.\->()]+ = co_await [^?{]*;|CO_TRY(_VOID)?\(.*co_await .*\);)"
    )
    wrong = []
    for path in SOURCES:
        text = path.read_text()
        for number, line in lines_of(path):
            code = line.split("//")[0]
            if "co_await" not in code or "#define" in code or path.name == "result.hpp":
                continue
            statement = code
            following = text.splitlines()[number:]
            while ";" not in statement and following:
                statement += " " + following.pop(0).strip()
            if code.count("co_await") > 1 or not plain.match(statement):
                wrong.append(f"{where(path, number)}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_files_stay_short():
    long = [f"{where(p)}: {n}" for p in SOURCES if (n := len(p.read_text().splitlines())) > 500]
    assert not long, "over 500 lines:\n" + "\n".join(long)


def test_headers_begin_with_their_purpose():
    wrong = [where(p) for p in SOURCES if p.suffix == ".hpp" and not p.read_text().startswith("// ")]
    assert not wrong, "\n".join(wrong)


FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}


def test_names_say_something():
    wrong = []
    for path in SOURCES:
        words = set(re.split(r"[_/.]", str(path.relative_to(ROOT))))
        if words & FORBIDDEN_NAMES or not re.fullmatch(r"[a-z0-9_]+\.(cpp|hpp)", path.name):
            wrong.append(where(path))
    assert not wrong, "\n".join(wrong)


def test_links_in_documents_resolve():
    wrong = []
    for path in tracked(".md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (path.parent / target).exists():
                wrong.append(f"{where(path)} -> {target}")
    assert not wrong, "\n".join(wrong)


def test_every_debian_package_is_named_with_its_reason():
    dev = (ROOT / "dev").read_text()
    lists = re.findall(r"^\w*PACKAGES=\((.*?)^\)|^\w*PACKAGES=\(([^\n]*)\)$", dev, re.M | re.S)
    packages = {word for pair in lists for word in " ".join(pair).split()}
    documented = (ROOT / "docs/dependencies.md").read_text()
    missing = [p for p in sorted(packages) if not re.search(rf"(?<![\w-]){re.escape(p)}(?![\w-])", documented)]
    assert packages and not missing, missing


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "SPECIFICATION.md", "STYLE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_the_documents_a_stranger_looks_for_are_there(name):
    assert (ROOT / name).is_file()


def test_every_test_named_in_the_specification_exists():
    names = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "SPECIFICATION.md").read_text())
    wrong = []
    for file, test in names:
        path = ROOT / file
        if not path.is_file() or (test and f"def {test}(" not in path.read_text()):
            wrong.append(f"{file}::{test}")
    assert not wrong, wrong


def test_every_format_document_names_its_code():
    for path in (ROOT / "docs/formats").glob("*.md"):
        code = re.findall(r"`(src/\w+/\w+\.[ch]pp)`", path.read_text())
        assert code, f"{where(path)} names no source file"
        for name in code:
            assert (ROOT / name).is_file(), f"{where(path)} names {name}, which is gone"
