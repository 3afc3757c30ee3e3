"""Keeps two runs of the workflow out of one folder."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import TextIO

from mimo.stage import Rejected

LOCK = Path(".snakemake", "run.lock")
PATIENCE = 0.5
"""Seconds that a run tries: whoever looks whether one is at work holds the lock for a moment, too."""
_held: dict[Path, TextIO] = {}


def hold_run_lock(folder: Path) -> None:
    """Lock a folder until this process ends, however it ends.

    Snakemake's own lock is a file that a killed run leaves behind; this one is the kernel's, so that the
    same command simply works again.

    Raises:
        Rejected: another run holds it.
    """
    hold(folder / LOCK, f"another run is at work in {folder.resolve()}; wait for it or stop it")


def hold(path: Path, words: str) -> None:
    """Lock a file, made if it is not there, until this process ends, however it ends.

    Raises:
        Rejected: another process holds it; the message is `words`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    end = time.monotonic() + PATIENCE
    while not (held := _lock(file)) and time.monotonic() < end:
        time.sleep(PATIENCE / 20)
    if not held:
        file.close()
        raise Rejected(words)
    _held[path.resolve()] = file


def is_running(folder: Path) -> bool:
    """Whether a run is at work in a folder, other than in this process."""
    path = folder / LOCK
    if not path.is_file() or path.resolve() in _held:
        return False
    with path.open() as file:
        return not _lock(file)


def _lock(file: TextIO) -> bool:
    """Lock a file if nobody holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
