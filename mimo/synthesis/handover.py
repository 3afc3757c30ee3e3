"""Clips of one run share one loaded model: they are handed over to a worker that stays loaded.

The first clip of a run starts `mimo.synthesis.worker`; the next ones find it by a socket in a private folder.
The worker belongs to one run, one state of the code and one set of devices, and ends with its run. A run is
whoever puts its process number into ``$MIMO_RUN_PID``: the workflow does, and so can a script of one's own.

What is exchanged: a line of JSON with the clip and the sender's own output streams, so that log and progress
appear where they would have; back come a line when the work begins, and one with its exit code.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mimo.fingerprint import ROOT, fingerprint
from mimo.lifetime import RUN
from mimo.stage import EXIT_FAULT, EXIT_REJECTED, Rejected
from mimo.synthesis.gpus import free_gpu

_ATTEMPTS = 3
_LONGEST_BASE = 60
_BACKLOG = 64
# Variables that change what a process computes, or where.
_DECISIVE = (
    "CUDA",
    "NVIDIA",
    "TORCH",
    "PYTORCH",
    "TRITON",
    "MIMO",
    "OMP",
    "MKL",
    "HF_",
    "PYTHON",
    "LD_",
    "PATH",
)


@dataclass(frozen=True)
class Order:
    """One video to make.

    Attributes:
        template, character: folders.
        output: the video.
        backend: name, as in the configuration.
        settings: of the backend.
    """

    template: Path
    character: Path
    output: Path
    backend: str
    settings: dict[str, Any]

    def as_json(self) -> str:
        """A line for `from_json`."""
        return json.dumps(asdict(self), default=str) + "\n"

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `as_json` made."""
        values = json.loads(line)
        paths = {key: Path(values[key]) for key in ("template", "character", "output")}
        return cls(**values | paths)


def run_to_serve() -> int | None:
    """The process that a worker is not to outlive; None where there is none, or it cannot be watched."""
    try:
        run = int(os.environ[RUN])
        os.close(os.pidfd_open(run))
    except (KeyError, ValueError, OSError, AttributeError):
        return None
    return run


def hand_over(order: Order, run: int, keep_loaded: float) -> int:
    """Let the run's worker make a video, and wait for it.

    Args:
        order: the video.
        run: process that the worker is not to outlive.
        keep_loaded: seconds that the worker waits for the next clip.

    Returns:
        The exit code that making it here would have had.
    """
    try:
        with free_gpu(runtime_folder(), str(order.settings.get("device"))) as device:
            if device.startswith("cuda"):
                order = replace(order, settings=order.settings | {"device": device})
            for _ in range(_ATTEMPTS):
                with _connected(order, run, keep_loaded) as connection:
                    code = _answer(connection, order)
                if code is not None:
                    return code
    except Rejected as error:
        print(f"REJECTED: {error}", file=sys.stderr)
        return EXIT_REJECTED
    print("no worker takes this clip: each one ended before it began", file=sys.stderr)
    return EXIT_FAULT


def _answer(connection: socket.socket, order: Order) -> int | None:
    """Order a video and wait; its exit code, or None: the worker ended before it began."""
    replies = connection.makefile("r", encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        text = order.as_json().encode()
        sent = socket.send_fds(connection, [text], [1, 2])
        connection.sendall(text[sent:])
        begun = replies.readline()
    except (BrokenPipeError, ConnectionResetError):
        return None
    if not begun:
        return None
    worker = json.loads(begun)["worker"]
    print(f"handed over to process {worker}, which stays loaded", file=sys.stderr, flush=True)
    with suppress(ConnectionResetError):
        answer = replies.readline()
        if answer:
            return int(json.loads(answer)["exit"])
    print(f"the worker that was making this clip has died (process {worker})", file=sys.stderr)
    return EXIT_FAULT


def runtime_folder() -> Path:
    """Folder of the sockets, which nobody else may enter.

    Raises:
        Rejected: it exists and others may enter, or it is somebody else's.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base or not Path(base).is_dir():
        base = tempfile.gettempdir()
    if len(base) > _LONGEST_BASE:
        # A socket's whole path has about a hundred letters at most.
        base = "/tmp"
    folder = Path(base) / f"mimo-pipeline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Rejected(f"{folder}: must be a folder that only you may enter; remove it")
    return folder


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep others from starting or ending workers; gives whether it is held."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _connected(order: Order, run: int, keep_loaded: float) -> socket.socket:
    """A connection to the worker, which is started if there is none."""
    folder = runtime_folder()
    path = folder / f"{_worker_name(order, run)}.socket"
    with folder_lock(folder):
        try:
            return _connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            _remove_dead(folder)
            _start_worker(path, run, keep_loaded)
            return _connect(path)


def _worker_name(order: Order, run: int) -> str:
    """What tells workers apart: run, code, device, environment."""
    backend = order.backend.replace("-", "_")
    decisive = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(_DECISIVE))
    parts = [
        str(run),
        fingerprint("mimo.synthesis.__main__", "mimo.synthesis.worker", f"mimo.synthesis.{backend}"),
        str(order.settings.get("device")),
        sys.executable,
        str(Path.cwd()),
        *decisive,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _remove_dead(folder: Path) -> None:
    """Remove sockets of workers that were killed."""
    for path in folder.glob("*.socket"):
        try:
            _connect(path).close()
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def _start_worker(path: Path, run: int, keep_loaded: float) -> None:
    """Start a worker on a socket that listens already, so that nobody has to wait for it to come up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        command = [sys.executable, "-m", "mimo.synthesis.worker", str(path)]
        command += ["--listener", str(listener.fileno()), "--run", str(run), "--idle", str(keep_loaded)]
        packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": packages},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
