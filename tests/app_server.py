"""The web app as a process of its own, and browsers that ask it whatever they like."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from real_batch import wait_until

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Answer:
    """What a server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """Its words, if it refuses."""
        return json.loads(self.body)["error"]


@dataclass
class Browser:
    """Keeps cookies; sends addresses exactly as they are given, which real browsers and clients do not."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, address: str, body: bytes | None = None, **headers: str | None) -> Answer:
        """Send a request; a header that is None is left out, ``_`` in its name is ``-``."""
        sent = {"Host": f"127.0.0.1:{self.port}"}
        if method not in ("GET", "HEAD"):
            sent["Origin"] = f"http://127.0.0.1:{self.port}"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, address, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None and "Content-Length" not in sent and "Transfer-Encoding" not in sent:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body is not None:
            # A server that refuses does not read everything.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.send(body)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            found = re.match(r"([\w-]+)=([^;]*)", value)
            if name.lower() == "set-cookie" and found:
                self.cookies[found[1]] = found[2]
        try:
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, address: str, **headers: str | None) -> Answer:
        """Ask for something."""
        return self.ask("GET", address, **headers)

    def upload(self, kind: str, content: bytes, name: str = "file.mp4", **headers: str | None) -> Answer:
        """Send a file."""
        return self.ask("POST", f"/upload/{kind}?name={name}", content, **headers)


class Server:
    """``python -m mimo.app`` in a workspace."""

    def __init__(self, workspace: Path, *options: str | Path) -> None:
        self.workspace = workspace
        self.port = free_port()
        self.output = workspace.parent / "server.txt"
        command = [sys.executable, "-m", "mimo.app", "--workspace", workspace, "--port", self.port, *options]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*map(str, command)],
                cwd=workspace.parent,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.output.read_text()

    def _answers(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def browser(self) -> Browser:
        """A browser that was never here."""
        return Browser(self.port)

    def said(self) -> str:
        """What it has written."""
        return self.output.read_text()

    def stop(self) -> int:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)
