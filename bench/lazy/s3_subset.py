#!/usr/bin/env python3
"""simulated S3: what nginx does not answer by sending a file. PUT (also `If-None-Match: *`), multipart uploads, DELETE,
ListObjectsV2, errors as XML. It checks no signatures; objects are the files below FOLDER/BUCKET.

  s3_subset.py PORT FOLDER
"""
import datetime
import itertools
import os
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

MAX_KEYS = 1000
COPY_BYTES = 1 << 20
STATUS = {"InvalidURI": 400, "NoSuchKey": 404, "NoSuchUpload": 404, "PreconditionFailed": 412, "NotImplemented": 501}


class Store:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.drafts = self.folder / ".drafts"
        shutil.rmtree(self.drafts, ignore_errors=True)
        self.drafts.mkdir(parents=True)
        self.uploads = itertools.count(1)
        self.lock = threading.Lock()

    def path(self, name):
        path = (self.folder / name).resolve()
        if self.folder.resolve() not in path.parents:
            raise ValueError(name)
        return path

    def draft(self):
        return tempfile.NamedTemporaryFile(dir=self.drafts, delete=False)

    def publish(self, draft, path, if_absent):
        """False when the object exists and must not."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not if_absent:
            os.replace(draft, path)
            return True
        try:
            os.link(draft, path)
            return True
        except FileExistsError:
            return False
        finally:
            os.unlink(draft)

    def keys(self, bucket, prefix):
        root = self.folder / bucket
        start = root / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(start):
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
        return sorted((k for k in found if k.startswith(prefix)), key=os.fsencode)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    store = None

    def log_message(self, *_):
        pass

    def target(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        return bucket, key, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def xml(self, text, status=200):
        self.answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), {"Content-Type": "application/xml"})

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ValueError:
            self.error("InvalidURI")
            self.wfile.flush()

    def error(self, code):
        self.xml(f"<Error><Code>{code}</Code><Message>{code} (simulated S3)</Message></Error>", STATUS[code])

    def save_body(self):
        left = int(self.headers.get("Content-Length", 0))
        with self.store.draft() as draft:
            while left:
                data = self.rfile.read(min(left, COPY_BYTES))
                if not data:
                    raise ConnectionError("the body ended early")
                left -= len(data)
                draft.write(data)
        return draft.name

    def do_PUT(self):
        bucket, key, query = self.target()
        draft = self.save_body()
        if "uploadId" in query:
            os.replace(draft, self.store.drafts / f"{query['uploadId']}.{int(query['partNumber']):05}")
        elif not self.store.publish(draft, self.store.path(f"{bucket}/{key}"), self.headers.get("If-None-Match") == "*"):
            return self.error("PreconditionFailed")
        self.answer(200, headers={"ETag": f'"{os.path.basename(draft)}"'})  # no digest: that would cost what is measured

    def do_POST(self):
        bucket, key, query = self.target()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in query:
            upload = f"upload-{next(self.store.uploads)}"
            return self.xml(f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
                            f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if "uploadId" in query:
            return self.join_parts(bucket, key, query["uploadId"], body)
        if "delete" in query:
            for name in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self.store.path(f"{bucket}/{urllib.parse.unquote(name)}").unlink(missing_ok=True)
            return self.xml("<DeleteResult/>")
        return self.error("NotImplemented")

    def join_parts(self, bucket, key, upload, body):
        wanted = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        parts = [self.store.drafts / f"{upload}.{number:05}" for number in wanted]
        if not parts or not all(p.exists() for p in parts):
            return self.error("NoSuchUpload")
        with self.store.draft() as draft:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, draft, COPY_BYTES)
                part.unlink()
        if not self.store.publish(draft.name, self.store.path(f"{bucket}/{key}"), self.headers.get("If-None-Match") == "*"):
            return self.error("PreconditionFailed")
        return self.xml(f'<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>"{upload}"</ETag></CompleteMultipartUploadResult>')

    def do_DELETE(self):
        bucket, key, query = self.target()
        if "uploadId" in query:
            for part in self.store.drafts.glob(f"{query['uploadId']}.*"):
                part.unlink(missing_ok=True)
        else:
            self.store.path(f"{bucket}/{key}").unlink(missing_ok=True)
        self.answer(204)

    def do_GET(self):
        bucket, key, query = self.target()
        if not key and "location" in query:
            return self.xml("<LocationConstraint/>")
        if not key:
            return self.list(bucket, query)
        path = self.store.path(f"{bucket}/{key}")
        if not path.is_file():
            return self.error("NoSuchKey")
        self.answer(200, path.read_bytes())  # made since nginx looked

    do_HEAD = do_GET

    def list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = min(int(query.get("max-keys", MAX_KEYS)), MAX_KEYS)
        shown, folders, last, more = [], [], after, False
        for key in self.store.keys(bucket, prefix):
            folder = prefix + key[len(prefix):].partition(delimiter)[0] + delimiter if delimiter and delimiter in key[len(prefix):] else None
            name = folder or key
            if os.fsencode(name) <= os.fsencode(after) or name in folders:
                continue
            if len(shown) + len(folders) == most:
                more = True
                break
            folders.append(folder) if folder else shown.append(key)
            last = name
        self.xml("<ListBucketResult>" + f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(shown) + len(folders)}</KeyCount>"
                 + f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
                 + (f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else "")
                 + "".join(map(lambda k: self.described(bucket, k), shown))
                 + "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders) + "</ListBucketResult>")

    def described(self, bucket, key):
        info = (self.store.folder / bucket / key).stat()
        when = datetime.datetime.fromtimestamp(info.st_mtime, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return f'<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified><ETag>"{info.st_ino:x}"</ETag><Size>{info.st_size}</Size></Contents>'


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Handler.store = Store(sys.argv[2])
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
