"""Output files that are whole or absent, and file digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What a file system answers that has no locks (Lustre mounted without them, some NFS).
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to, and rename it to `path` when the block ends well.

    The sibling (``.name.part.suffix``) keeps the suffix, since encoders choose the container by it. It is
    locked: a second process writing the same output waits for the first, so that an orphan of a
    killed run cannot mix its bytes with those of the next run, nor overwrite them later. What a killed
    process left is discarded. The bytes are on the disk before the name is.

    Raises:
        OSError: the block wrote no file, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    lock = _lock_fresh(part)
    try:
        yield part
        _flush(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def _lock_fresh(part: Path) -> int:
    """Create `part` and lock it; waits while another living process holds it.

    A file that is already there is never taken over, even when empty: an encoder that outlived its killed
    parent may still be writing to it. It is locked to wait for its owner, unlinked, and created anew.
    """
    while True:
        with suppress(FileExistsError):
            lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            _wait_for_lock(lock, part)
            if _is_open_as(lock, part):
                return lock
            os.close(lock)
            continue
        with suppress(FileNotFoundError):
            left = os.open(part, os.O_RDWR)
            try:
                _wait_for_lock(left, part)
                if _is_open_as(left, part):
                    part.unlink()
            finally:
                os.close(left)


def _wait_for_lock(file: int, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another process that is writing {part}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _is_open_as(file: int, path: Path) -> bool:
    """Whether `path` still names the open file, which a process that held the lock may have unlinked."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    """Wait until the file is on its disk: some network disks report only now that they are full."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(
            json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
        )


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
