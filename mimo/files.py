"""Output files that are whole or absent, and file digests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to, and rename it to `path` when the block ends well.

    The sibling (``.name.part.suffix``) keeps the suffix, since encoders choose the container by it. It is
    locked: a second process writing the same output waits for the first, so that an orphan of a
    killed run cannot mix its bytes with those of the next run. What a killed process left is discarded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    lock = _lock_fresh(part)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def _lock_fresh(part: Path) -> int:
    """Lock `part` as a new empty file; waits while another living process holds it."""
    while True:
        lock = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            status = os.stat(part)
        except FileNotFoundError:
            status = None
        if status is not None and status.st_ino == os.fstat(lock).st_ino:
            if status.st_size == 0:
                return lock
            # A killed run's leftover, perhaps still being closed by its encoder: take a new file.
            os.unlink(part)
        os.close(lock)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
