"""A server of files on this machine that speaks the Hugging Face hub's protocol, as far as its client needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789" * 4
NEWER = "abcdefabcd" * 4
LARGE = (".safetensors", ".bin")  # kept with Git LFS on the hub, so that it tells their sha256


class HubServer(ThreadingHTTPServer):
    """Serves repositories from a folder with one sub-folder per commit: ``root/COMMIT/owner/name/file``.

    The last commit is the newest. Files under ``root/releases`` are served as they are, as GitHub serves a release's.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.requests: list[tuple[str, str | None]] = []  # path and range of every request for a file
        self.cut_after: int | None = None  # bytes after which the next answer with a file breaks off
        self.stall_after: int | None = None  # bytes after which every answer with a file waits for `go_on`
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.gated: set[str] = set()
        self.wrong_bytes = False  # one byte of every large file is another one

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def commits(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name != "releases")


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/(?P<name>.+?)(/revision/(?P<revision>[^/]+))?", path):
            self._tell(match["name"], match["revision"] or "main")
        elif match := re.fullmatch(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", path):
            # the hub sends those who ask for a large file on to another host
            self._answer(302, b"", {"Location": f"/cdn/{match['revision']}/{match['name']}/{match['file']}"})
        elif path.startswith("/cdn/"):
            self._send(self.server.root / path.removeprefix("/cdn/"))
        elif path.startswith("/releases/"):
            self._send(self.server.root / path.lstrip("/"))
        else:  # what else the client wants to know, it can do without
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tell(self, name: str, revision: str) -> None:
        commit = self.server.commits[-1] if revision == "main" else revision
        folder = self.server.root / commit / name
        if name in self.server.gated:
            self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        elif not any((self.server.root / known / name).is_dir() for known in self.server.commits):
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif not folder.is_dir():
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = [_described(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
            self._answer(200, json.dumps({"id": name, "sha": commit, "siblings": files}).encode())

    def _send(self, path: Path) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((path.name, wanted))
        if not path.is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = path.read_bytes()
        if server.wrong_bytes and path.suffix in LARGE:
            data = bytes([data[0] ^ 1]) + data[1:]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if server.cut_after is not None:
            self.wfile.write(data[start : start + server.cut_after])
            server.cut_after, self.close_connection = None, True
        elif server.stall_after is not None and path.suffix in LARGE:
            self.wfile.write(data[start : start + server.stall_after])
            self.wfile.flush()
            server.stalled.set()
            server.go_on.wait(60)
        else:
            self.wfile.write(data[start:])


def _described(folder: Path, path: Path) -> dict[str, object]:
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    told: dict[str, object] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(data), "blobId": git}
    if path.suffix in LARGE:
        told["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return told


@contextmanager
def serve(root: Path) -> Iterator[HubServer]:
    """The server, answering in threads of its own until the end of the block."""
    with HubServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
