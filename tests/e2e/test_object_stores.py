"""Hearth on a bucket: a real S3 server and a GCS emulator, from `hearth up` to an answer, and who gets to know the credentials."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from conftest import ROOT, Server

sys.path.append(str(ROOT / "tests/stores"))
from servers import KINDS, SECRET_KEY  # noqa: E402

BUCKET = "hearth-e2e"
MODEL = "def predict(x):\n    return x * 2\n"


def upload_shared(base_store, remote):
    """The built-in base image, so that nothing has to build it."""
    for path in sorted((base_store / "shared").rglob("*")):
        if path.is_file():
            remote.put(BUCKET, str(path.relative_to(base_store)), path.read_bytes())


@pytest.fixture(scope="module", params=["s3", "gcs"])
def remote(request, base_store):
    with KINDS[request.param]() as running:
        running.make_bucket(BUCKET)
        upload_shared(base_store, running)
        running.kind = request.param
        yield running


class Bucket(Server):
    """A `hearth up` of its own on a remote store."""

    def __init__(self, remote, store=None, environment=None):
        super().__init__(tempfile.mkdtemp(prefix="hearth-e2e-"), "--store", store or remote.store(BUCKET))
        kept = {name: value for name, value in self.env.items() if not name.startswith(("AWS_", "GOOGLE_"))}
        self.env = kept | (remote.environment if environment is None else environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def refused(self):
        out = self.hearth("up", "--data-dir", self.data_dir, "--listen", "127.0.0.1:0", "--detach", "--json", *self.up_args, check=False)
        assert out.returncode != 0, out.stdout
        return out.stderr


def processes_that_know(secret):
    """Pids whose environment or command line holds it."""
    pids = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            known = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if secret.encode() in known:
            pids.add(int(entry.name))
    return pids


def test_a_model_in_a_bucket_answers_from_a_fresh_data_dir(remote):
    with Bucket(remote) as first:
        first.up()
        first.deploy(MODEL, "twice")
        assert first.call("/v1/twice/latest", 21).json() == {"data": 42}
    with Bucket(remote) as second:
        second.up()
        assert second.call("/v1/twice/latest", 4).json() == {"data": 8}
        assert not (second.data_dir / "store").exists()


def test_credentials_are_known_to_those_who_use_the_store_and_stand_nowhere_else(remote):
    if remote.kind != "s3":
        pytest.skip("the emulator takes no credentials")
    with Bucket(remote) as server:
        info = server.up()
        server.deploy(MODEL, "quiet")
        assert server.call("/v1/quiet/latest", 1).status == 200
        allowed = {server.pid_of(role) for role in ("router", "node", "imagefs")} | {info["pid"]}
        assert processes_that_know(SECRET_KEY) == allowed
        for path in server.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET_KEY.encode() not in path.read_bytes(), path


def test_credentials_in_a_file_that_only_root_can_read_serve_every_role(remote):
    if remote.kind != "s3":
        pytest.skip("the emulator takes no credentials")
    with Bucket(remote, environment={"AWS_ENDPOINT_URL": remote.url}) as server:
        file = server.folder / "credentials"
        file.touch(0o600)
        file.write_text(f"[tests]\naws_access_key_id = {remote.environment['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {SECRET_KEY}\n")
        server.env |= {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "tests"}
        server.up()
        server.deploy(MODEL, "by-file")
        assert server.call("/v1/by-file/latest", 3).json() == {"data": 6}


def test_a_bucket_that_is_not_there_is_named_and_nothing_is_served(remote):
    with Bucket(remote, store=remote.store("no-such-bucket")) as server:
        refusal = server.refused()
        assert "no-such-bucket" in refusal and "does not exist" in refusal
        assert "create it, or correct --store" in refusal


def test_wrong_credentials_are_refused_with_the_variable_to_check(remote):
    if remote.kind != "s3":
        pytest.skip("the emulator takes no credentials")
    with Bucket(remote, environment=remote.environment | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}) as server:
        refusal = server.refused()
        assert "AWS_SECRET_ACCESS_KEY" in refusal and "wrong-secret" not in refusal
    with Bucket(remote, environment={"AWS_ENDPOINT_URL": remote.url, "AWS_EC2_METADATA_DISABLED": "true"}) as server:
        assert "no AWS credentials" in server.refused()
