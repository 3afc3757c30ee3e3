"""A process that makes a run's videos one after the other with what it has loaded; see `handover`.

It ends when it has waited long enough, when its run ends, after a fault (the next clip gets a fresh process),
and when whoever ordered a clip goes away before it is finished.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimo.character import Character
from mimo.stage import EXIT_FAULT, EXIT_REJECTED, load_backend, parse_settings, run
from mimo.synthesis.handover import Order, folder_lock
from mimo.synthesis.rendering import make_video
from mimo.template import Template

_LONGEST_ORDER = 1 << 20
# Seconds that an interrupted clip may take to clean up.
_GRACE = 30


class Worker:
    """Serves one socket.

    Args:
        listener: listening.
        path: of the socket.
        run: process that the worker is not to outlive.
        idle: seconds to wait for a clip.
    """

    def __init__(self, listener: socket.socket, path: Path, run: int, idle: float) -> None:
        self._listener, self._path, self._idle = listener, path, idle
        self._run = _process(run)

    def serve(self) -> None:
        """Make videos until there is a reason to end."""
        going_on = self._run is not None
        while going_on:
            ready = _wait([self._listener.fileno(), self._run], self._idle)
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
            if not held or _wait([self._listener.fileno()], 0):
                return False
            self._path.unlink(missing_ok=True)
            return True

    def _serve_one(self) -> bool:
        """Make one video; gives whether this process is still good for another one."""
        connection, _ = self._listener.accept()
        with connection:
            text, streams = _received(connection)
            if not text or len(streams) != 2:
                return True
            with _as_output(streams):
                connection.sendall(json.dumps({"worker": os.getpid()}).encode() + b"\n")
                with self._interrupted_when_alone(connection):
                    code = _made(Order.from_json(text))
                with suppress(BrokenPipeError):
                    connection.sendall(json.dumps({"exit": code}).encode() + b"\n")
            return code in (0, EXIT_REJECTED)

    @contextmanager
    def _interrupted_when_alone(self, connection: socket.socket) -> Iterator[None]:
        """Interrupt the block when nobody waits for its result any more."""
        done, finished = os.pipe()

        def watch() -> None:
            if done in _wait([connection.fileno(), self._run, done], None):
                return
            # A signal, since that also ends a read that waits for its file.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            if not _wait([done], _GRACE):
                os._exit(EXIT_FAULT)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            os.close(finished)
            watcher.join()
            os.close(done)


def _made(order: Order) -> int:
    """Make a video as the command line would; its exit code."""
    try:
        return run(lambda: _make(order), makes=order.output)
    except BaseException:
        traceback.print_exc()
        return EXIT_FAULT


def _make(order: Order) -> None:
    backend = load_backend("mimo.synthesis", order.backend)
    settings = parse_settings(backend.Settings, order.settings, "settings")
    template, character = Template.load(order.template), Character.load(order.character)
    make_video(template, character, order.output, backend, settings)


def _received(connection: socket.socket) -> tuple[str, list[int]]:
    """An order and the output streams that came with it."""
    data, streams, _, _ = socket.recv_fds(connection, _LONGEST_ORDER, 2)
    while data and not data.endswith(b"\n") and len(data) < _LONGEST_ORDER:
        more = connection.recv(_LONGEST_ORDER)
        if not more:
            return "", list(streams)
        data += more
    return data.decode(), list(streams)


@contextmanager
def _as_output(streams: list[int]) -> Iterator[None]:
    """Let this process and those it starts write to other streams, and to none afterwards."""
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
        os.close(nowhere)


def _process(number: int) -> int | None:
    """A file that becomes readable when a process ends; None: it has ended."""
    try:
        return os.pidfd_open(number)
    except ProcessLookupError:
        return None


def _wait(files: list[int | None], seconds: float | None) -> set[int]:
    """Those of some files that are readable, or whose other end is gone, within some time (None: any)."""
    poll = select.poll()
    for file in files:
        if file is not None:
            poll.register(file, select.POLLIN | select.POLLHUP)
    return {file for file, _ in poll.poll(None if seconds is None else seconds * 1000)}


def main(argv: list[str] | None = None) -> int:
    """Serve a socket that the starting process made."""
    parser = argparse.ArgumentParser(prog="python -m mimo.synthesis.worker", description=main.__doc__)
    parser.add_argument("path", type=Path, help="the socket")
    parser.add_argument("--listener", type=int, required=True, help="the socket, open")
    parser.add_argument("--run", type=int, required=True, help="process that this one is not to outlive")
    parser.add_argument("--idle", type=float, required=True, help="seconds to wait for a clip")
    args = parser.parse_args(argv)
    # Started by a shell in the background, Python would ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(fileno=args.listener) as listener:
        Worker(listener, args.path, args.run, args.idle).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
