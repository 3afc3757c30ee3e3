"""Keeps two runs of the workflow out of one folder."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from mimo.stage import Rejected

_held: list[TextIO] = []


def hold_run_lock(folder: Path) -> None:
    """Lock a folder until this process ends, however it ends.

    Snakemake's own lock is a file that a killed run leaves behind; this one is the kernel's, so that the
    same command simply works again.

    Raises:
        Rejected: another run holds it.
    """
    path = folder / ".snakemake" / "run.lock"
    path.parent.mkdir(exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Rejected(f"another run is at work in {folder.resolve()}; wait for it or stop it") from None
    _held.append(file)
