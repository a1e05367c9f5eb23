"""The servers of the benchmark, in memory (tmpfs), behind the proxy that plays the network: a registry and an S3 store.

Both are one nginx that sends files. What of S3 is more than sending a file (PUT, DELETE, lists, errors) is answered by
s3_subset.py: a simulation of the protocol, which checks no signatures. Clients talk to the proxy's port.
"""
import json
import shutil
import socket
import subprocess

from machine import Daemon, Failed, mounts_below, run
from places import HERE, OCI, PROGRAMS, RAM, STATE, TAG

BUCKET = "hearth"
RAM_SIZE = "10g"
KINDS = ("layers", "packs", "bundles", "profiles")

NGINX = """user root; worker_processes 2; daemon off; pid {state}/nginx.pid; error_log {state}/nginx.log error;
events {{ worker_connections 1024; }}
http {{
  log_format objects '$request_method $uri $body_bytes_sent'; access_log {state}/objects.log objects;
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 600;
  client_body_temp_path {state}/nginx-body; proxy_temp_path {state}/nginx-proxy;
  fastcgi_temp_path {state}/nginx-f; uwsgi_temp_path {state}/nginx-u; scgi_temp_path {state}/nginx-s;
  client_max_body_size 0; types {{}} default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /v2/ {{ return 200 '{{}}'; }}
    location /v2/ml/blobs/ {{ alias {ram}/registry/blobs/; }}
    location /v2/ml/manifests/ {{ alias {ram}/registry/manifests/; default_type application/vnd.oci.image.manifest.v1+json; }}
    location /{bucket}/ {{
      root {ram}/s3;
      error_page 418 = @rest;
      if ($request_method !~ ^(GET|HEAD)$) {{ return 418; }}
      if ($is_args) {{ return 418; }}
      try_files $uri @rest;
    }}
    location = /{bucket} {{ proxy_pass http://127.0.0.1:{rest}; }}
    location @rest {{ proxy_pass http://127.0.0.1:{rest}; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off; }}
  }}
}}
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Network:
    """`port` is the proxy's: http://127.0.0.1:PORT/ serves registry and store with whatever delay was set last."""

    def __init__(self, cgroup):
        self.folder = STATE.parent / "net"
        self.objects_log = self.folder / "objects.log"
        self.control_path = self.folder / "control"
        self.port, self.direct, rest = free_ports(3)
        self.daemons = []
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_ram()
        (self.folder / "nginx.conf").write_text(NGINX.format(state=self.folder, ram=RAM, port=self.direct, rest=rest, bucket=BUCKET))
        try:
            self._start("rest", ["/usr/bin/python3", HERE / "s3_subset.py", rest, RAM / "s3"], rest)
            self._start("nginx", ["nginx", "-p", self.folder, "-c", "nginx.conf"], self.direct)
            self._start("proxy", [PROGRAMS / "proxy", self.port, self.direct, self.control_path], self.port)
        except Failed:
            self.close()
            raise
        for daemon in self.daemons:
            cgroup.take(daemon.process.pid)

    def _make_ram(self):
        RAM.mkdir(parents=True, exist_ok=True)
        if str(RAM) not in mounts_below(RAM.parent):
            run(["mount", "-t", "tmpfs", "-o", f"size={RAM_SIZE}", "hearth-bench", RAM])
        for part in ("registry/blobs", "registry/manifests", f"s3/{BUCKET}"):
            (RAM / part).mkdir(parents=True, exist_ok=True)
        for blob in (OCI / "blobs/sha256").iterdir():
            target = RAM / "registry/blobs" / f"sha256:{blob.name}"
            if not target.exists():
                shutil.copyfile(blob, target)
        digest = json.loads((OCI / "index.json").read_text())["manifests"][0]["digest"]
        for name in (TAG, digest):
            shutil.copyfile(RAM / "registry/blobs" / digest, RAM / "registry/manifests" / name)

    def _start(self, name, command, port):
        daemon = Daemon(name, command, folder=self.folder)
        self.daemons.append(daemon)
        daemon.until(lambda: socket.create_connection(("127.0.0.1", port), 1).close())

    def control(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(self.control_path))
            s.sendall(line.encode() + b"\n")
            return json.loads(s.makefile().readline())

    def set(self, net):
        """A round trip and perhaps a bandwidth in MB/s: 0ms, 20ms, 20ms@125."""
        delay, _, rate = net.partition("@")
        self.control(f"set {int(float(delay.removesuffix('ms')) * 1000)} {int(float(rate or 0) * 1e6)}")

    def reset(self):
        self.control("reset")
        with open(self.objects_log, "w"):
            pass

    def objects(self):
        """What the servers sent since reset: {(method, path): bytes}."""
        sent = {}
        for line in self.objects_log.read_text().splitlines():
            method, path, count = line.split(" ")
            sent[method, path] = sent.get((method, path), 0) + int(count)
        return sent

    def sent_by_kind(self):
        """Bytes that the store sent, by the folder that names an object's kind."""
        kinds = {}
        for (_, path), count in self.objects().items():
            kind = next((part for part in path.split("/") if part in KINDS), "other")
            kinds[kind] = kinds.get(kind, 0) + count
        return kinds

    def stats(self):
        return self.control("stats")

    @property
    def image(self):
        return f"127.0.0.1:{self.port}/ml:{TAG}"

    def close(self):
        for daemon in reversed(self.daemons):
            daemon.stop()
        if str(RAM) in mounts_below(RAM.parent):
            subprocess.run(["umount", "-l", RAM], check=False)
