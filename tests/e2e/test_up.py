"""hearth up, status, down: one machine's processes, and what they leave behind."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import HEARTH, Server, wait_until

ROLES = {"router", "node", "imagefs", "holder", "redis"}
VALUE = "def predict():\n    return {value!r}\n"


def run(*args, **kwargs):
    return subprocess.run([HEARTH, *map(str, args)], capture_output=True, text=True, timeout=120, **kwargs)


def left_behind(server, run_dir):
    """What is still there of a server that has been stopped."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines()
              if str(run_dir) in line or str(server.data_dir) in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob(run_dir.name)]
    processes = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(run_dir).encode() in words or str(server.data_dir).encode() in words:
            processes.append((entry.name, words))
    return mounts + groups + processes + ([str(run_dir)] if run_dir.exists() else [])


@pytest.fixture
def fresh():
    """A server that has not been started: fresh.up() does."""
    server = Server(tempfile.mkdtemp(prefix="hearth-up-"))
    yield server
    server.down()
    shutil.rmtree(server.folder, ignore_errors=True)


def test_up_prints_one_line_and_serves(fresh):
    info = fresh.up()
    assert set(info) == {"url", "key", "data_dir", "pid"}
    assert info["data_dir"] == str(fresh.data_dir.resolve())
    assert fresh.request("GET", "/readyz", key=False).status == 200
    status = fresh.status()
    assert {p["role"] for p in status["processes"]} == ROLES
    assert status["replicas"] == []
    for process in status["processes"]:
        os.kill(process["pid"], 0)


def test_the_context_files_are_for_their_owner_alone(fresh):
    info = fresh.up()
    for path in (fresh.data_dir / "context.json", fresh.folder / "config/hearth/context.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text()) == {k: info[k] for k in ("url", "key", "data_dir")}


def test_sudo_gets_the_context_into_the_home_of_its_user(fresh):
    home = fresh.folder / "home"
    home.mkdir()
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, "hearth-tester"], check=True)
    try:
        uid = int(subprocess.run(["id", "-u", "hearth-tester"], capture_output=True, text=True, check=True).stdout)
        os.chown(home, uid, uid)
        fresh.folder.chmod(0o755)
        fresh.env |= {"SUDO_UID": str(uid)}
        info = fresh.up()
        context = home / ".config/hearth/context.json"
        assert json.loads(context.read_text())["key"] == info["key"]
        assert context.stat().st_uid == uid and stat.S_IMODE(context.stat().st_mode) == 0o600
    finally:
        subprocess.run(["userdel", "hearth-tester"], check=True)


def test_the_router_has_no_rights(fresh):
    fresh.up()
    text = Path(f"/proc/{fresh.pid_of('router')}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["61700"] * 4 and fields["Gid"].split() == ["61700"] * 4
    assert fields["Groups"].strip() == "" and int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert "61700" not in Path(f"/proc/{fresh.pid_of('node')}/status").read_text()


def test_redis_listens_on_no_port_and_is_not_root(fresh):
    fresh.up()
    pid = fresh.pid_of("redis")
    assert "Uid:\t0" not in Path(f"/proc/{pid}/status").read_text()
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    listening = {f"socket:[{line.split()[9]}]" for name in ("tcp", "tcp6")
                 for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]}
    assert not inodes & listening


def test_a_second_up_adopts_what_runs(fresh):
    first = fresh.up()
    pids = {p["role"]: p["pid"] for p in fresh.status()["processes"]}
    assert fresh.up() == first
    assert {p["role"]: p["pid"] for p in fresh.status()["processes"]} == pids
    out = run("up", "--data-dir", fresh.data_dir, "--json", env=fresh.env)  # in the foreground too: it says so and returns
    assert out.returncode == 0 and "already running" in out.stderr
    assert json.loads(out.stdout) == first


def test_down_leaves_nothing_and_may_be_repeated(fresh):
    fresh.up()
    run_dir = (fresh.data_dir / "run").resolve()
    assert run_dir.is_dir()
    out = fresh.down()
    assert out.returncode == 0
    assert out.stdout.split() == "stopped router stopped node stopped imagefs stopped holder stopped redis".split()
    assert left_behind(fresh, run_dir) == []
    again = fresh.down()
    assert again.returncode == 0 and "nothing runs" in again.stdout
    assert fresh.hearth("status", "--data-dir", fresh.data_dir, check=False).returncode == 1


def test_ctrl_c_stops_everything(fresh):
    process = subprocess.Popen([HEARTH, "up", "--data-dir", fresh.data_dir, "--listen", "127.0.0.1:0", "--json"],
                               env=fresh.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    info = json.loads(process.stdout.readline())
    assert info["pid"] == process.pid
    run_dir = (fresh.data_dir / "run").resolve()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert left_behind(fresh, run_dir) == []


def test_what_was_deployed_survives_down_and_up(make_server):
    server = make_server()
    first = dict(server.info)
    server.deploy(VALUE.format(value="kept"), "kept")
    assert server.call("/v1/kept/latest", [[1]]).json() == {"data": [[1, "kept"]]}
    run_dir = (server.data_dir / "run").resolve()
    assert server.down().returncode == 0
    assert left_behind(server, run_dir) == []
    second = server.up()
    assert second["key"] == first["key"]
    assert server.call("/v1/kept/latest", [[1]]).json() == {"data": [[1, "kept"]]}
    wait_until(lambda: len(server.logs("kept")) == 2)
    server.down()


def test_a_fresh_data_dir_on_an_old_store_is_a_fresh_machine(make_server, fresh):
    old = make_server()
    old.deploy(VALUE.format(value="stored"), "stored")
    old.down()
    fresh.up_args = ("--store", old.data_dir / "store")
    fresh.up()
    assert fresh.info["key"] != old.info["key"]
    assert fresh.call("/v1/stored/latest", [[1]]).json() == {"data": [[1, "stored"]]}


def test_a_store_that_is_gone_is_not_replaced_by_an_empty_one(fresh):
    fresh.up()
    fresh.down()
    (fresh.data_dir / "store").rename(fresh.folder / "store-away")
    out = run("up", "--data-dir", fresh.data_dir, "--listen", "127.0.0.1:0", "--detach", env=fresh.env)
    assert out.returncode == 1 and str(fresh.data_dir / "store") in out.stderr and "mount" in out.stderr
    (fresh.folder / "store-away").rename(fresh.data_dir / "store")
    assert fresh.up()["key"]


def test_another_store_gets_a_key_of_its_own(fresh):
    first = fresh.up()["key"]
    fresh.down()
    fresh.up_args = ("--store", fresh.folder / "other")
    assert fresh.up()["key"] not in (None, first)
    assert fresh.request("GET", "/api/v1/models").status == 200


def test_the_key_is_null_once_the_context_file_is_gone(fresh):
    fresh.up()
    fresh.down()
    (fresh.data_dir / "context.json").unlink()
    assert fresh.up()["key"] is None
    assert not (fresh.data_dir / "context.json").exists()


def test_a_taken_port_says_what_to_do_and_leaves_nothing(fresh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        out = run("up", "--data-dir", fresh.data_dir, "--listen", f"127.0.0.1:{port}", "--detach", env=fresh.env)
    assert out.returncode == 1
    assert str(port) in out.stderr and "--listen" in out.stderr
    assert run("status", "--data-dir", fresh.data_dir, env=fresh.env).returncode == 1


def test_another_user_than_root_is_told(fresh):
    folder = Path(tempfile.mkdtemp(prefix="hearth-bin-"))
    try:
        folder.chmod(0o755)
        shutil.copy(HEARTH, folder / "hearth")
        out = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", folder / "hearth", "up", "--data-dir", "/tmp/x"],
                             capture_output=True, text=True)
    finally:
        shutil.rmtree(folder)
    assert out.returncode == 1 and "root" in out.stderr and "sudo" in out.stderr


@pytest.mark.parametrize("program", ["runc", "redis-server"])
def test_a_missing_program_is_named_with_its_package(fresh, program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    hide = f"mount --bind /dev/null {path} && exec {HEARTH} up --data-dir {fresh.data_dir}"
    out = subprocess.run(["unshare", "--mount", "sh", "-c", hide], capture_output=True, text=True, timeout=60)
    assert out.returncode == 1 and f"apt-get install {program}" in out.stderr


def test_a_full_disk_is_found_before_anything_starts(fresh):
    fresh.data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", fresh.data_dir], check=True)
    try:
        out = run("up", "--data-dir", fresh.data_dir, "--listen", "127.0.0.1:0", "--detach", env=fresh.env)
        assert out.returncode == 1 and "full" in out.stderr and "--data-dir" in out.stderr
    finally:
        subprocess.run(["umount", fresh.data_dir], check=True)


def test_a_data_dir_that_is_a_file_is_refused(fresh):
    fresh.data_dir.write_text("")
    out = run("up", "--data-dir", fresh.data_dir, "--listen", "127.0.0.1:0", "--detach", env=fresh.env)
    assert out.returncode == 1 and "--data-dir" in out.stderr


@pytest.mark.parametrize("arguments", [["up", "--lisen", "x"], ["up", "--listen", "nonsense"], ["nosuch"], [], ["router"],
                                       ["status", "--jsn"]])
def test_wrong_use_is_status_2_with_a_hint(arguments):
    out = run(*arguments)
    assert out.returncode == 2
    assert "--help" in out.stderr or "HOST:PORT" in out.stderr


def test_a_typing_error_is_answered_with_the_nearest_word():
    assert "did you mean '--listen'" in run("up", "--lisen", "x").stderr
    assert "did you mean 'deploy'" in run("depoy").stderr


@pytest.mark.parametrize("command", ["", "up", "down", "status", "router", "node", "imagefs", "holder", "deploy", "ls", "call",
                                     "alias set", "alias rm", "alias ls", "logs", "rm", "key create", "key ls", "key revoke",
                                     "image import", "image ls", "image inspect", "image mount", "image umount"])
def test_every_command_explains_itself(command):
    out = run(*command.split(), "--help")
    assert out.returncode == 0 and "Usage: hearth" in out.stdout


def test_settings_come_from_file_then_environment_then_flags(tmp_path):
    config = tmp_path / "hearth.toml"
    config.write_text('[holder]\nsocket = "/no/file.sock"\n[router]\nanything = 1\n')
    for env, flags, expected in [({}, [], "/no/file.sock"),
                                 ({"HEARTH_HOLDER_SOCKET": "/no/env.sock"}, [], "/no/env.sock"),
                                 ({"HEARTH_HOLDER_SOCKET": "/no/env.sock"}, ["--socket", "/no/flag.sock"], "/no/flag.sock")]:
        out = run("holder", "--config", config, *flags, env=os.environ | env)
        assert out.returncode == 1 and expected in out.stderr
    config.write_text('sockt = "/x"\n')
    out = run("holder", "--config", config)
    assert out.returncode == 2 and re.search("sockt.*did you mean 'socket'", out.stderr)


def test_a_log_file_for_each_role(fresh):
    fresh.up()
    for role in ROLES | {"supervisor"}:
        assert (fresh.data_dir / "logs" / f"{role}.log").is_file()


def test_a_relative_data_dir_is_where_the_command_was_typed(fresh):
    folder = fresh.data_dir.parent
    ready = run("up", "--data-dir", fresh.data_dir.name, "--listen", "127.0.0.1:0", "--detach", "--json", cwd=folder, env=fresh.env)
    assert ready.returncode == 0, ready.stderr
    assert json.loads(ready.stdout.splitlines()[-1])["data_dir"] == str(fresh.data_dir.resolve())
    assert run("down", "--data-dir", fresh.data_dir).returncode == 0


def test_doctor_says_what_this_host_can_do(fresh):
    told = json.loads(run("doctor", "--data-dir", fresh.data_dir, "--json").stdout)
    checks = {check["check"]: check for check in told["checks"]}
    assert told["fit"] is True
    assert checks["root"]["ok"] and checks["runc"]["ok"]
    assert "--image-backend auto takes" in checks["images"]["found"]
