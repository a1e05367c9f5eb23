"""hearth deploy and what belongs to it, through the command line and nothing else."""

import json
import os
import shutil
import subprocess
import tempfile
import threading

import pytest
from conftest import HEARTH

VALUE = "def predict():\n    return {value!r}\n"


def test_each_deployment_is_the_next_version_and_latest_moves(server):
    first = server.deploy(VALUE.format(value="one"), "versions")
    second = server.deploy(VALUE.format(value="two"), "versions")
    assert (first["version"], second["version"]) == (1, 2)
    assert server.call("/v1/versions/latest", [[1]]).json() == {"data": [[1, "two"]]}
    assert server.call(first["url"], [[1]]).json() == {"data": [[1, "one"]]}
    assert set(first) >= {"workspace", "model", "branch", "version", "url"}


def test_aliases_point_where_they_are_set(server):
    server.deploy(VALUE.format(value=1), "aliased")
    server.deploy(VALUE.format(value=2), "aliased")
    server.hearth("alias", "set", "aliased", "prod", 1)
    assert server.call("/v1/aliased/prod", [[0]]).json() == {"data": [[0, 1]]}
    server.hearth("alias", "set", "aliased", "prod", 2)
    assert server.call("/v1/aliased/prod", [[0]]).json() == {"data": [[0, 2]]}
    assert server.json("alias", "ls", "aliased")["aliases"] == {"prod": 2}
    server.hearth("alias", "rm", "aliased", "prod")
    assert server.call("/v1/aliased/prod", [[0]]).status == 404


def test_an_alias_for_a_version_that_is_not_there_is_refused(server):
    server.deploy(VALUE.format(value=1), "aliased")
    out = server.hearth("alias", "set", "aliased", "x", 99, check=False)
    assert out.returncode == 1 and "99" in out.stderr


def test_rm_takes_a_model_out_of_service(server):
    server.deploy(VALUE.format(value=1), "removed")
    assert server.call("/v1/removed/latest", [[0]]).status == 200
    server.hearth("rm", "removed", "--yes")
    assert server.call("/v1/removed/latest", [[0]]).status == 404
    assert "removed" not in {m["model"] for m in server.json("ls")["models"]}


def test_concurrent_deployments_lose_none(server):
    results = []

    def deploy(i):
        results.append(server.deploy(VALUE.format(value=i), "concurrent")["version"])

    threads = [threading.Thread(target=deploy, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [1, 2, 3, 4]


def test_an_unprivileged_user_deploys_with_url_and_key_alone(server):
    home = tempfile.mkdtemp()
    try:
        folder = os.path.join(home, "m")
        os.mkdir(folder)
        open(folder + "/model.py", "w").write(VALUE.format(value="hi"))
        open(folder + "/hearth.toml", "w").write('[model]\nname = "unprivileged"\nhandler = "model:predict"\n')
        shutil.copy(HEARTH, home + "/hearth")
        for path, _, names in os.walk(home):
            for name in [path, *(os.path.join(path, n) for n in names)]:
                os.chown(name, 65534, 65534)
        env = {"PATH": os.environ["PATH"], "HOME": home, "HEARTH_URL": server.info["url"], "HEARTH_API_KEY": server.info["key"]}
        out = subprocess.run([home + "/hearth", "deploy", folder, "--json"], env=env, user=65534, group=65534, extra_groups=[],
                             capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        assert json.loads(out.stdout.splitlines()[-1])["model"] == "unprivileged"
    finally:
        shutil.rmtree(home)


def test_a_second_deployment_sends_nothing_the_server_has(server):
    big = os.urandom(5 << 20)
    server.deploy(VALUE.format(value=1), "dedup", files={"w.bin": big})
    folder = tempfile.mkdtemp(dir=server.folder)
    open(folder + "/model.py", "w").write(VALUE.format(value=2))
    open(folder + "/w.bin", "wb").write(big)
    open(folder + "/hearth.toml", "w").write('[model]\nname = "dedup"\nhandler = "model:predict"\n')
    err = server.hearth("deploy", folder).stderr
    uploads = [line for line in err.splitlines() if line.startswith("upload")]
    assert uploads and "5.0 MiB" not in uploads[-1]


def test_artifacts_lie_read_only_beside_the_code(server):
    server.deploy(
        """
import os
def predict():
    try:
        open("weights.bin", "ab")
        writable = True
    except OSError:
        writable = False
    return [open("weights.bin").read(), writable, os.path.exists("files/weights.bin")]
""", "artifacts", toml='\n[artifacts]\n"weights.bin" = "files/weights.bin"\n', files={"files/weights.bin": "heavy"})
    assert server.call("/v1/artifacts/latest", [[0]]).json()["data"][0][1][:2] == ["heavy", False]


def test_python_packages_from_a_wheel_folder_without_network(server):
    server.deploy(
        "import tinywheel\n\ndef predict():\n    return tinywheel.VALUE\n", "wheels",
        toml='\n[image]\npython_packages = ["tinywheel==1.0"]\nwheels = "wheels/"\n',
        files={"wheels/tinywheel-1.0-py3-none-any.whl": tiny_wheel()})
    assert server.call("/v1/wheels/latest", [[0]]).json()["data"][0][1] == 42


def tiny_wheel():
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("tinywheel.py", "VALUE = 42\n")
        z.writestr("tinywheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n")
        z.writestr("tinywheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("tinywheel-1.0.dist-info/RECORD", "tinywheel.py,,\ntinywheel-1.0.dist-info/METADATA,,\ntinywheel-1.0.dist-info/WHEEL,,\ntinywheel-1.0.dist-info/RECORD,,\n")
    return out.getvalue()


def failing_deploy(server, **kwargs):
    folder = tempfile.mkdtemp(dir=server.folder)
    open(folder + "/model.py", "w").write(kwargs.get("code", VALUE.format(value=1)))
    open(folder + "/hearth.toml", "w").write(kwargs["toml"])
    out = server.hearth("deploy", folder, check=False)
    assert out.returncode == 1
    return out.stderr


@pytest.mark.parametrize("toml, words", [
    ('[model\nname = "x"', ["hearth.toml", "line"]),
    ('[model]\nname = "broken"\nhandler = "model:predict"\nmod = "row"\n', ["mod", "mode"]),
    ('[model]\nhandler = "model:predict"\n', ["name"]),
    ('[model]\nname = "chat"\nhandler = "model:predict"\n', ["chat", "reserved"]),
    ('[model]\nname = "broken"\nhandler = "model:predict"\n[resources]\nmemory = "lots"\n', ["memory", "lots"]),
    ('[model]\nname = "broken"\nhandler = "model:nothere"\n', ["nothere", "model"]),
    ('[model]\nname = "broken"\nhandler = "elsewhere:predict"\n', ["elsewhere"]),
    ('[model]\nname = "broken"\nhandler = "model:predict"\n[image]\nbase = "no-such-image"\n', ["no-such-image"]),
    ('[model]\nname = "broken"\nhandler = "model:predict"\n[artifacts]\n"w" = "gone.bin"\n', ["gone.bin"]),
])
def test_a_bad_hearth_toml_is_one_clear_message_and_no_version(server, toml, words):
    err = failing_deploy(server, toml=toml)
    assert all(word in err for word in words), err
    assert not any(m["model"] == "broken" for m in server.json("ls")["models"])


def test_a_package_that_does_not_exist_fails_with_pips_own_words_and_leaves_no_version(server):
    err = failing_deploy(server, toml='[model]\nname = "nopackage"\nhandler = "model:predict"\n[image]\n'
                                      'python_packages = ["this-package-does-not-exist-hearth==9.9"]\n')
    assert "this-package-does-not-exist-hearth" in err
    assert not any(m["model"] == "nopackage" for m in server.json("ls")["models"])


@pytest.mark.parametrize("code, word", [
    ("raise RuntimeError('import trouble')\ndef predict():\n    return 1\n", "import trouble"),
    ("import nosuchmodule\ndef predict():\n    return 1\n", "nosuchmodule"),
    ("import os\nos._exit(9)\ndef predict():\n    return 1\n", "9"),
])
def test_code_that_fails_to_load_is_503_with_its_reason(server, code, word):
    name = "load" + str(abs(hash(code)) % 10_000)
    server.deploy(code, name)
    reply = server.call(f"/v1/{name}/latest", [[0]])
    assert reply.status == 503, reply
    assert word in reply.json()["error"]


def test_a_setup_that_raises_is_503_for_every_waiter(server):
    from concurrent.futures import ThreadPoolExecutor

    server.deploy("def setup():\n    raise OSError('no weights here')\ndef predict():\n    return 1\n", "badsetup", toml='setup = "model:setup"\n')
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.call("/v1/badsetup/latest", [[0]]), range(8)))
    assert {r.status for r in replies} == {503}
    assert all("no weights here" in r.json()["error"] for r in replies)


def test_every_command_has_help_and_wrong_use_is_2():
    for command in ("up", "down", "status", "deploy", "ls", "call", "alias", "logs", "rm", "key", "image", "router", "node", "imagefs", "holder"):
        out = subprocess.run([HEARTH, command, "--help"], capture_output=True, text=True)
        assert out.returncode == 0 and "Usage" in out.stdout, command
    assert subprocess.run([HEARTH, "deploy", "--no-such-flag"], capture_output=True).returncode == 2
    assert subprocess.run([HEARTH, "nonsense"], capture_output=True).returncode == 2
