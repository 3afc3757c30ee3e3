"""A process that does a run's jobs one after the other with what it has loaded; see `handover`.

It ends when it has waited long enough, when its run ends, after a fault (the next job gets a fresh process),
when whoever ordered a job goes away before it is finished, and when another worker needs its memory (`room`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimo.lifetime import interrupted_by, readable
from mimo.stage import EXIT_FAULT, EXIT_REJECTED
from mimo.worker import keeping
from mimo.worker.room import make_room
from mimo.worker.sockets import LEAVE, Order, folder_lock

_LONGEST_ORDER = 1 << 20
# Output, errors, and the lock of a GPU.
_MOST_FILES = 3
# Seconds that an interrupted job may take to clean up.
_GRACE = 30


class Worker:
    """Serves one socket.

    Args:
        listener: listening.
        path: of the socket.
        run: process that the worker is not to outlive.
        idle: seconds to wait for a job.
    """

    def __init__(self, listener: socket.socket, path: Path, run: int, idle: float) -> None:
        self._listener, self._path, self._idle = listener, path, idle
        self._run = _process(run)

    def serve(self) -> None:
        """Do jobs until there is a reason to end."""
        going_on = True
        while going_on and self._run is not None:
            ready = readable([self._listener.fileno(), self._run], self._idle)
            if self._run in ready:
                break
            if ready:
                going_on = self._serve_one()
            elif self._leave_if_idle():
                return
        self._path.unlink(missing_ok=True)

    def _leave_if_idle(self) -> bool:
        """Close the door, unless somebody is just coming in."""
        with folder_lock(self._path.parent, wait=False) as held:
            if not held or readable([self._listener.fileno()], 0):
                return False
            self._path.unlink(missing_ok=True)
            return True

    def _serve_one(self) -> bool:
        """Do what one sender asks; gives whether this process is still good for another one."""
        connection, _ = self._listener.accept()
        with connection:
            text, files = _received(connection)
            if text == LEAVE:
                return not _told(connection, worker=os.getpid())
            if len(files) < 2:
                return True
            with _as_output(files[:2], files[2:]):
                if not _told(connection, worker=os.getpid()):
                    return True
                order = Order.from_json(text)
                self._idle = order.keep_loaded
                with interrupted_by(connection.fileno(), _GRACE, EXIT_FAULT):
                    code = self._done(order)
                with suppress(FileNotFoundError):
                    os.utime(self._path)
            _told(connection, exit=code)
            return code in (0, EXIT_REJECTED)

    def _done(self, order: Order) -> int:
        """Do a job as the command line would; its exit code."""
        started = time.process_time()
        try:
            keeping.keep()
            keeping.forget_randomness()
            make_room(order, self._path)
            code: int = importlib.import_module(_main_module(order.module)).main(order.argv)
        except BaseException:
            traceback.print_exc()
            code = EXIT_FAULT
        keeping.give_memory_back()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        used = time.process_time() - started
        print(f"the worker took {used:.1f} CPU s, and {peak:.1f} GiB at most since it began", file=sys.stderr)
        return code


def _main_module(name: str) -> str:
    """The module with a command line: of a package its ``__main__``."""
    return f"{name}.__main__" if hasattr(importlib.import_module(name), "__path__") else name


def _told(connection: socket.socket, **words: int) -> bool:
    """Answer; gives whether somebody was there to hear it."""
    try:
        connection.sendall(json.dumps(words).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _received(connection: socket.socket) -> tuple[str, list[int]]:
    """A message and the open files that came with it."""
    data, files, _, _ = socket.recv_fds(connection, _LONGEST_ORDER, _MOST_FILES)
    while data and not data.endswith(b"\n") and len(data) < _LONGEST_ORDER:
        more = connection.recv(_LONGEST_ORDER)
        if not more:
            break
        data += more
    if not data.endswith(b"\n"):
        for file in files:
            os.close(file)
        return "", []
    return data.decode(), list(files)


@contextmanager
def _as_output(streams: list[int], others: list[int]) -> Iterator[None]:
    """Let this process and those it starts write to other streams, and to none afterwards.

    Args:
        streams: for output and for errors.
        others: files to close at the end, too.
    """
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        for file in (nowhere, *others):
            os.close(file)


def _process(number: int) -> int | None:
    """A file that becomes readable when a process ends; None: it has ended."""
    try:
        return os.pidfd_open(number)
    except ProcessLookupError:
        return None


def main(argv: list[str] | None = None) -> int:
    """Serve a socket that the starting process made."""
    parser = argparse.ArgumentParser(prog="python -m mimo.worker.server", description=main.__doc__)
    parser.add_argument("path", type=Path, help="the socket")
    parser.add_argument("--listener", type=int, required=True, help="the socket, open")
    parser.add_argument("--run", type=int, required=True, help="process that this one is not to outlive")
    parser.add_argument("--idle", type=float, required=True, help="seconds to wait for a job")
    args = parser.parse_args(argv)
    with socket.socket(fileno=args.listener) as listener:
        Worker(listener, args.path, args.run, args.idle).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
