"""What a model can see and do from inside its container."""

import pytest

PROBE = '''
import ctypes, os, socket, subprocess

def attempt(action):
    try:
        return repr(action())
    except Exception as error:
        return type(error).__name__ + ": " + str(error)

def predict(what):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        "ids": lambda: [os.getuid(), os.getgid(), sorted(os.getgroups())],
        "owner_of_root": lambda: [os.stat("/").st_uid, os.stat("/usr/bin/env").st_uid, os.stat("/model/model.py").st_uid],
        "status": lambda: {k: status[k].strip() for k in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")},
        "write_root": lambda: [attempt(lambda: open(p, "w")) for p in ("/x", "/usr/x", "/model/x", "/etc/passwd", "/hearth/x")],
        "write_tmp": lambda: [open(p + "/x", "w").write("x") for p in ("/tmp", "/var/tmp", "/run", os.environ["HOME"], "/dev/shm")],
        "fill_tmp": lambda: attempt(lambda: open("/tmp/big", "wb").write(b"x" * (80 << 20))),
        "interfaces": lambda: sorted(os.listdir("/sys/class/net")),
        "connect": lambda: attempt(lambda: socket.create_connection(("192.0.2.1", 80), 1)),
        "pids": lambda: len([p for p in os.listdir("/proc") if p.isdigit()]),
        "unshare": lambda: ctypes.CDLL(None, use_errno=True).unshare(0x10000000),
        "mount": lambda: ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None),
        "mknod": lambda: attempt(lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3))),
        "environment": lambda: sorted(os.environ),
        "forks": lambda: attempt(lambda: [subprocess.Popen(["sleep", "5"]) for _ in range(100)]),
        "host_sockets": lambda: [p for p in ("/run/hearth", "/var/run/docker.sock") if os.path.exists(p)],
        "sysctl": lambda: attempt(lambda: open("/proc/sys/kernel/hostname", "w").write("x")),
    }[what]()
'''


@pytest.fixture(scope="module")
def probe(server):
    server.deploy(PROBE, "jail", toml='\n[resources]\ntmp = "64MiB"\npids = 64\nmemory = "512MiB"\n')

    def ask(what):
        reply = server.call("/v1/jail/latest", what)
        assert reply.status == 200, reply
        return reply.json()["data"]

    return ask


def test_it_is_user_1000(probe):
    assert probe("ids")[:2] == [1000, 1000]


def test_a_file_of_root_is_roots_never_nobodys(probe):
    assert probe("owner_of_root") == [0, 0, 0]


def test_it_has_no_capabilities_no_new_privileges_and_seccomp(probe):
    status = probe("status")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_its_root_is_read_only(probe):
    assert all("Error" in answer for answer in probe("write_root"))


def test_programs_can_write_where_they_must(probe):
    assert probe("write_tmp") == [1] * 5


def test_tmp_is_bounded(probe):
    assert "No space left" in probe("fill_tmp")


def test_it_has_no_network(probe):
    assert probe("interfaces") == ["lo"]
    assert "Error" in probe("connect")


def test_it_sees_only_its_own_processes(probe):
    assert probe("pids") < 10


@pytest.mark.parametrize("what", ["unshare", "mount"])
def test_it_cannot_make_namespaces_or_mounts(probe, what):
    assert probe(what) == -1


def test_it_cannot_make_devices_or_write_sysctls(probe):
    assert "Error" in probe("mknod")
    assert "Error" in probe("sysctl")


def test_it_sees_no_host_socket_and_no_secret(probe):
    assert probe("host_sockets") == []
    assert not [name for name in probe("environment") if "KEY" in name or name.startswith("HEARTH_RUNNER")]


def test_its_processes_are_bounded(probe):
    assert "Error" in probe("forks")


def test_a_network_is_given_when_asked_for(server):
    server.deploy("import os\n\ndef predict():\n    return sorted(os.listdir('/sys/class/net'))\n", "networked", toml="\n[resources]\nnetwork = true\n")
    assert len(server.call("/v1/networked/latest", [[0]]).json()["data"][0][1]) == 2
