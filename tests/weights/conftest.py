"""A machine of its own for every test, an index to write, and a real HTTP server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in the ways, good and bad, that the path asks for; counts requests."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        serve = getattr(self, f"serve_{self.path.strip('/').replace('-', '_')}", self.serve_missing)
        serve()

    def begin(self, length: int | None, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def serve_good(self) -> None:
        self.begin(len(CONTENT))
        self.wfile.write(CONTENT)

    def serve_without_length(self) -> None:
        self.begin(None)
        self.wfile.write(CONTENT)

    def serve_redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/good")
        self.end_headers()

    def serve_truncated(self) -> None:
        self.begin(len(CONTENT))
        self.wfile.write(CONTENT[:1000])

    def serve_truncated_without_length(self) -> None:
        self.begin(None)
        self.wfile.write(CONTENT[:1000])

    def serve_other(self) -> None:
        self.begin(len(CONTENT), "text/html")
        self.wfile.write(CONTENT[::-1])

    def serve_endless(self) -> None:
        self.begin(None)
        try:
            for _ in range(1000):
                self.wfile.write(CONTENT)
        except OSError:
            self.server.requests.append("client went away")

    def serve_silent(self) -> None:
        self.server.wait.wait(5)

    def serve_stalled(self) -> None:
        self.begin(len(CONTENT))
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        self.server.wait.wait(5)

    def serve_broken(self) -> None:
        self.send_error(500, "no")

    def serve_missing(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server on a free port; `requests` lists the paths asked for."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests = []
    server.wait = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.wait.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no read-only folders, no proxy; gives the folder that `fetch` fills."""
    monkeypatch.setenv("RDP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RDP_WEIGHTS", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home" / "weights"


@pytest.fixture
def index_of(tmp_path: Path):
    """Writes an index of one entry, `net`; keyword arguments replace its fields, None leaves one out."""

    def write(**changes: object) -> Path:
        fields = {"filename": "net.pth", "sha256": SHA256, "size": len(CONTENT), "licence": "MIT", "description": "x"}
        fields |= changes
        lines = ["version = 1", "[net]"]
        for key, value in fields.items():
            if value is not None:
                lines.append(f"{key} = {value}" if isinstance(value, int | list) else f'{key} = "{value}"')
        path = tmp_path / "index.toml"
        path.write_text("\n".join(lines))
        return path

    return write
