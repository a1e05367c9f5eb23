#!/usr/bin/env python3
"""Hearth beside its peers, one after the other on the same cores with the client beside them: a table of ratios.

Rows: Hearth through the whole path; its worker called directly on its socket; nginx and HAProxy in front of an equally
trivial server; FastAPI with two uvicorn workers; Mosec without and with its batching. Same models, same answers.

  ./dev bench                    everything, into docs/benchmarks.md
  ./dev bench --rows hearth,fastapi --seconds 3
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import report
from cold_start import ColdStarts
from measure import HERE, Tree, point, wrk

ROOT = HERE.parent
VENV = ROOT / "build/bench-venv"
CONNECTIONS = report.CONNECTIONS


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def prepare_venv():
    stamp = VENV / "requirements.txt"
    wanted = (HERE / "requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("installing the peers …", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)


def post(url, body, headers=()):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"} | dict(h.split(": ", 1) for h in headers))
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def wait_for(url, body, headers=()):
    for _ in range(600):
        with contextlib.suppress(OSError):
            return post(url, body, headers)
        time.sleep(0.1)
    sys.exit(f"no answer from {url}")


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="hearth-bench-"))
        self.model = self.work / "model.joblib"
        out = subprocess.run([VENV / "bin/python", HERE / "peers/digits.py", self.model], check=True, capture_output=True)
        self.row = json.loads(out.stdout)
        self.body = self.work / "body.json"
        self.body.write_text(json.dumps({"data": self.row}))  # 64 positional arguments; FastAPI and Mosec take the same body
        self.results = []
        self.cold_starts = None
        self.program = str(ROOT / "build/hearth")
        self.data_dir = args.data_dir or str(self.work / "hearth")
        self.env = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE / "peers"), "BENCH_MODEL": str(self.model)}

    def add(self, case, row, tree, load):
        for connections in CONNECTIONS:
            load(connections, self.args.warmup if connections == CONNECTIONS[0] else 1)
            got = point(tree, lambda: load(connections, self.args.seconds))
            self.results.append({"case": case, "row": row, "connections": connections, **got})
            r = self.results[-1]
            print(f"{case:13} {row:16} {connections:3} conn {r['rps']:9.0f}/s p50 {r['p50_ms']:7.3f} ms p99 {r['p99_ms']:7.2f} ms "
                  f"cpu {r['cpu_us']:5.0f} us/req {r['memory_mb']:6.0f} MB errors {r['errors']}", flush=True)

    def http(self, case, row, tree, url, body, headers=()):
        self.add(case, row, tree, lambda connections, seconds: wrk(url, connections, seconds, body, headers))

    # --- Hearth

    def up(self):
        self.command("down", check=False)  # what an interrupted run has left
        server = json.loads(self.command("up", "--listen", "127.0.0.1:0", "--detach", "--json").strip().splitlines()[-1])
        self.server_env = os.environ | {"HEARTH_URL": server["url"], "HEARTH_API_KEY": server["key"]}
        self.headers = [f"Authorization: {server['key']}"]

    def command(self, name, *arguments, check=True):
        out = subprocess.run([self.program, name, "--data-dir", self.data_dir, *arguments], check=check, stdout=subprocess.PIPE, text=True)
        return out.stdout

    def deploy(self, folder):
        out = subprocess.run([self.program, "deploy", folder, "--json"], env=self.server_env, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(out.stdout.strip().splitlines()[-1])

    def hearth(self):
        self.up()
        try:
            for case, mode in (("noop", None), ("logreg", "row"), ("logreg-batch", "batch")):
                deployed = self.deploy(self.model_folder(case, mode))
                wait_for(deployed["url"], self.body.read_bytes(), self.headers)
                status = json.loads(self.command("status", "--json"))
                holder = {p["pid"] for p in status["processes"] if p["role"] == "holder"}  # its children are all replicas
                roots = {p["pid"] for p in status["processes"]} - holder
                roots |= {r["pid"] for r in status["replicas"] if r.get("pid") and r["model"] == deployed["model"]}
                self.http(case, "hearth", Tree(roots=roots, alone=holder), deployed["url"], self.body, self.headers)
        finally:
            self.command("down", check=False)

    def cold(self):
        self.up()
        try:
            url = self.deploy(HERE / "models/cold")["url"]
            status = [self.program, "status", "--data-dir", self.data_dir, "--json"]
            wait_for(url, b'{"data": 1}', self.headers)
            self.cold_starts = ColdStarts(lambda: post(url, b'{"data": 1}', self.headers), status)
            self.cold_starts.run(self.args.starts)
            print(self.cold_starts.table(), flush=True)
        finally:
            self.command("down", check=False)

    def model_folder(self, case, mode):
        folder = self.work / f"folder-{case}"
        shutil.copytree(HERE / "models" / ("logreg" if mode else "noop"), folder)
        if mode:
            shutil.copy(self.model, folder)
            config = folder / "hearth.toml"
            config.write_text(config.read_text().replace("MODE", mode))
        return folder

    # --- (a) the worker called directly on its socket

    def worker(self):
        for case, mode in (("noop", "row"), ("logreg", "row"), ("logreg-batch", "batch")):
            folder = self.model_folder(case + "-direct", None if case == "noop" else mode)
            handler = "model:predict" if case == "noop" else f"model:predict_{mode}"
            for connections in CONNECTIONS:
                command = [VENV / "bin/python", HERE / "worker_direct.py", "--folder", folder, "--handler", handler, "--mode", mode,
                           "--outstanding", str(connections), "--seconds", str(self.args.seconds), "--row", json.dumps(self.row)]
                if case != "noop":
                    command += ["--setup", "model:setup"]
                out = subprocess.run(list(map(str, command)), env=os.environ | self.env, check=True, stdout=subprocess.PIPE, text=True)
                got = json.loads(out.stdout.strip().splitlines()[-1])
                self.results.append({"case": case, "row": "worker", "connections": connections, **got})
                print(f"{case:13} worker           {connections:3} outstanding {got['rps']:9.0f}/s p50 {got['p50_ms']:.3f} ms", flush=True)

    # --- (b) proxies in front of an equally trivial server

    def proxies(self):
        trivial, proxy = free_port(), free_port()
        backend = self.nginx("backend", f"server {{ listen 127.0.0.1:{trivial} backlog=4096; location / {{ return 200 'ok'; }} }}")
        nginx_conf = (f"proxy_http_version 1.1; proxy_set_header Connection ''; upstream b {{ server 127.0.0.1:{trivial}; keepalive 128; "
                      f"keepalive_requests 1000000000; }} server {{ listen 127.0.0.1:{proxy} backlog=4096; location / {{ proxy_pass http://b; }} }}")
        haproxy_conf = self.work / "haproxy.conf"
        haproxy_conf.write_text(f"global\n  maxconn 8192\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
                                f"  http-reuse always\nfrontend f\n  bind 127.0.0.1:{proxy}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{trivial}\n")
        try:
            self.wait_port(trivial)
            self.http("proxy", "trivial direct", backend, f"http://127.0.0.1:{trivial}/", self.body)
            for name, start in (("nginx", lambda: self.nginx("nginx", nginx_conf)), ("haproxy", lambda: Tree(["haproxy", "-q", "-f", str(haproxy_conf)]))):
                tree = start()
                try:
                    self.wait_port(proxy)
                    self.http("proxy", name, tree, f"http://127.0.0.1:{proxy}/", self.body)
                finally:
                    tree.stop()
        finally:
            backend.stop()

    def wait_port(self, port):
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit(f"nothing listens on port {port}")

    def nginx(self, name, inner):
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(
            f"user root; worker_processes auto; daemon off; pid {folder}/pid; error_log {folder}/log crit; events {{ worker_connections 4096; }}\n"
            f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; "
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; {inner} }}\n")
        return Tree(["nginx", "-p", str(folder), "-c", "nginx.conf"])

    # --- (c), (d) Python servers

    def python_server(self, row, case, command, batch=False):
        port = free_port()
        env = self.env | {"BENCH_CASE": "noop" if case == "noop" else "logreg", "BENCH_BATCH": str(int(batch)), "PATH": f"{VENV}/bin:{os.environ['PATH']}"}
        with open(self.work / f"{row}.log", "w") as log:
            tree = Tree([str(c).format(port=port) for c in command], env, str(HERE / "peers"), log)
        url = f"http://127.0.0.1:{port}" + ("/predict" if row == "fastapi" else "/inference")
        try:
            wait_for(url, self.body.read_bytes())
            self.http(case, row, tree, url, self.body)
        finally:
            tree.stop()

    def fastapi(self):
        command = [VENV / "bin/uvicorn", "fastapi_app:app", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2", "--no-access-log", "--log-level", "warning"]
        for case in ("noop", "logreg"):
            self.python_server("fastapi", case, command)

    def mosec(self):
        command = [VENV / "bin/python", "mosec_app.py", "--address", "127.0.0.1", "--port", "{port}", "--log-level", "warning"]
        for case in ("noop", "logreg"):
            self.python_server("mosec", case, command)
        self.python_server("mosec", "logreg-batch", command, batch=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="hearth,cold,worker,proxies,fastapi,mosec")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--starts", type=int, default=20, help="cold starts to measure")
    parser.add_argument("--nice", type=int, default=0, help="run clients and servers at this niceness, and say so")
    parser.add_argument("--note", default="", help="said on the page, for instance what else ran on the machine")
    parser.add_argument("--data-dir", help="keep Hearth's data here, so that images are built once")
    parser.add_argument("--out", type=pathlib.Path, help="write the page here as well")
    args = parser.parse_args()
    if args.nice:
        os.setpriority(os.PRIO_PROCESS, 0, args.nice)
    prepare_venv()
    load = [os.getloadavg()[0]]
    bench = Bench(args)
    try:
        for _ in range(args.runs):
            for row in args.rows.split(","):
                getattr(bench, row)()
                for folder in bench.work.glob("folder-*"):
                    shutil.rmtree(folder)
    finally:
        load.append(os.getloadavg()[0])
        text = report.page(ROOT, bench.results, bench.cold_starts, {"load": load} | vars(args))
        print(text)
        if args.out:
            args.out.write_text(text)
        shutil.rmtree(bench.work, ignore_errors=True)


if __name__ == "__main__":
    main()
