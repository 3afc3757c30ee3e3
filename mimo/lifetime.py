"""When a stage's process ends before its work is done: it clears up, and never outlives its run.

A run is whoever puts its process number into ``$MIMO_RUN_PID``: the workflow does (`announce_run`), so can
a script of one's own. Killed with ``kill -9``, it cannot tell its stages; they watch it instead.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

RUN = "MIMO_RUN_PID"
"""Environment variable with the process that stages are not to outlive."""

RUN_PLACE = "MIMO_RUN_PLACE"
"""Environment variable with where that process number counts, see `place`."""

EXIT_STOPPED = 128 + signal.SIGTERM
# Seconds in which a stage that was told to end may clear up.
GRACE = 10.0


class Stopped(BaseException):
    """The process was told to end; no `Exception`, so that nothing on the way takes it for a failure."""


def announce_run() -> None:
    """Make this process the run that the stages it starts do not outlive."""
    os.environ[RUN] = str(os.getpid())
    os.environ[RUN_PLACE] = place()


def place() -> str:
    """Where process numbers of this process count: machine and, in a container, its numbering."""
    return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Turn SIGTERM, and the end of the run, into `Stopped` within the block, so that it can clear up.

    Does nothing outside the main thread, where signals do not arrive.

    Raises:
        Stopped: the process was told to end, or its run has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    alone = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped("the run that it belongs to has ended" if alone.is_set() else "it was told to end")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with _watched(_run(), alone):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run() -> int | None:
    """A file that becomes readable when the run ends; None: there is no run, or it cannot be watched."""
    try:
        return os.pidfd_open(int(os.environ[RUN]))
    except ProcessLookupError:
        if os.environ.get(RUN_PLACE) == place():
            raise Stopped("the run that it belongs to has ended") from None
        return None
    except (KeyError, ValueError, OSError):
        return None


@contextmanager
def _watched(run: int | None, alone: threading.Event) -> Iterator[None]:
    """Send this process SIGTERM if the run ends during the block."""
    if run is None:
        yield
        return
    try:
        with interrupted_by(run, GRACE, EXIT_STOPPED, alone):
            yield
    finally:
        os.close(run)


@contextmanager
def interrupted_by(
    file: int, grace: float, exit_code: int, told: threading.Event | None = None
) -> Iterator[None]:
    """Send this process SIGTERM when a file becomes readable, or its other end goes, during the block.

    Args:
        file: number of an open file.
        grace: seconds after which a block that is still at work is ended with its process.
        exit_code: of the process then.
        told: set before the signal.
    """
    done, finished = os.pipe()

    def watch() -> None:
        if done in readable([file, done], None):
            return
        if told is not None:
            told.set()
        # To the thread, since that also ends a read that waits for its file.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not readable([done], grace):
            os._exit(exit_code)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(finished)
        watcher.join()
        os.close(done)


def readable(files: list[int], seconds: float | None) -> set[int]:
    """Those of some files that are readable, or whose other end is gone, within some time (None: any)."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN | select.POLLHUP)
    return {file for file, _ in poll.poll(None if seconds is None else seconds * 1000)}
