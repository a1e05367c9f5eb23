#!/usr/bin/env python3
"""A container registry that serves one OCI layout directory read-only (distribution API v2), for tests.

registry.py LAYOUT [--user NAME --password WORD]   prints "port N" when it listens,
                                                   stops when the file LAYOUT/stop appears.
"""

import argparse
import base64
import http.server
import json
import os
import pathlib
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        if self.server.authorization and self.headers.get("Authorization") != self.server.authorization:
            return self.send(401, b"{}", "application/json", with_body, {"WWW-Authenticate": 'Basic realm="fake"'})
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts == ["v2"]:
            return self.send(200, b"{}", "application/json", with_body)
        if len(parts) >= 4 and parts[0] == "v2" and parts[-2] in ("manifests", "blobs"):
            found = self.server.find(parts[-2], parts[-1])
            if found:
                kind, digest, body = found
                return self.send(200, body, kind, with_body, {"Docker-Content-Digest": digest})
        self.send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', "application/json", with_body)

    def send(self, status, body, kind, with_body, more=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (more or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Registry(http.server.ThreadingHTTPServer):
    def __init__(self, layout, authorization):
        super().__init__(("127.0.0.1", 0), Handler)
        self.layout = layout
        self.authorization = authorization

    def find(self, what, reference):
        kind = "application/octet-stream"
        digest = reference
        for manifest in json.loads((self.layout / "index.json").read_text())["manifests"]:
            tag = manifest.get("annotations", {}).get("org.opencontainers.image.ref.name")
            if what == "manifests" and reference in (tag, manifest["digest"]):
                kind, digest = manifest["mediaType"], manifest["digest"]
        path = self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
        if not digest.startswith("sha256:") or not path.is_file():
            return None
        body = path.read_bytes()
        if what == "manifests":  # one that only a list names says itself what it is
            kind = json.loads(body).get("mediaType", kind)
        return kind, digest, body


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", type=pathlib.Path)
    parser.add_argument("--user")
    parser.add_argument("--password")
    options = parser.parse_args()
    authorization = None
    if options.user:
        token = base64.b64encode(f"{options.user}:{options.password}".encode()).decode()
        authorization = "Basic " + token
    registry = Registry(options.layout, authorization)
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    print(f"port {registry.server_address[1]}", flush=True)
    while not (options.layout / "stop").exists():
        time.sleep(0.02)
    os._exit(0)


main()
