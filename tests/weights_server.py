"""A server on loopback that behaves as the hubs weights are downloaded from, and misbehaves on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server offers, and what it was asked.

    Attributes:
        url: address of the server.
        files: content by path.
        breaks: paths whose next answer ends half way.
        requests: method, path and ``Range`` header of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def asked(self, path: str) -> list[str | None]:
        """``Range`` header of each GET of a path."""
        return [wanted for method, asked, wanted in self.requests if (method, asked) == ("GET", path)]


@contextmanager
def hub() -> Iterator[Hub]:
    """Run a server until the block ends."""
    offer = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            wanted = self.headers.get("Range")
            offer.requests.append((self.command, self.path, wanted))
            content = offer.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            start = 0
            if wanted is not None and self.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", etag)
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if not with_body:
                return
            if self.path in offer.breaks:
                offer.breaks.remove(self.path)
                self.wfile.write(content[start : (start + len(content)) // 2])
                self.close_connection = True
            else:
                self.wfile.write(content[start:])

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield offer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
