"""Where the workers of a computer listen, and the words that are exchanged with them.

A socket's name begins with eight letters for the worker's GPU; its file's time is when the worker last had
something to do. A sender writes one line of JSON: an `Order`, with its own output streams and the lock of its
GPU, or a request to leave.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mimo.gpus import VISIBLE

LEAVE = '{"leave": true}\n'


@dataclass(frozen=True)
class Order:
    """One job.

    Attributes:
        module: of its command line, such as ``video_decomp.pose``.
        argv: of its command line.
        keep_loaded: seconds to wait for the next order.
        mem_mb, gpu_mem_mb: what the job needs.
    """

    module: str
    argv: list[str]
    keep_loaded: float
    mem_mb: int
    gpu_mem_mb: int

    def as_json(self) -> str:
        """A line for `from_json`."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `as_json` made."""
        return cls(**json.loads(line))


def card() -> str:
    """Eight letters for the GPUs that this process sees."""
    return hashlib.sha256(os.environ.get(VISIBLE, "").encode()).hexdigest()[:8]


def connect(path: Path) -> socket.socket:
    """A connection to a worker.

    Raises:
        OSError: nobody listens.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


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
