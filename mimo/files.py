"""Output files that are whole or absent, and file digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

# What a file system answers that has no locks (Lustre mounted without them, some NFS).
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)

SAMPLES, SAMPLE = 16, 1 << 16
"""Parts of a file that `sampled_digest` reads, and the bytes of each."""

_NOT_WRITTEN = {
    errno.ENOSPC: "the disk is full (or that of temporary files, {temporary}); free some space",
    errno.EDQUOT: "the quota of disk space is used up; free some space",
    errno.EFBIG: "no file may be that large here; see `ulimit -f`",
    errno.EROFS: "the disk can only be read; make it writable, or name another folder in config.yaml",
    errno.EACCES: "not permitted; change the permissions, or name another folder in config.yaml",
    errno.EPERM: "not permitted; change the permissions, or name another folder in config.yaml",
}

_claims: list[tuple[Path, str]] = []
"""What this process is the sole maker of: the file that says so, and this process's words in it."""


class TakenOver(Exception):
    """Another process has begun to make what this one was making, and this one publishes nothing any more."""


@contextmanager
def sole_maker(path: Path) -> Iterator[None]:
    """Let nobody else make `path`, and what is made together with it, until the block ends.

    A second process waits until the first has ended, however it ends: an orphan of a killed run, or a job on
    another node. Where locks do not reach (some network disks have none, or one set a node) the process
    that began last wins: `whole_file` and `remove` refuse to work for the earlier one, so that files of the
    two never mix. The claim is the hidden file ``.NAME.maker`` beside `path`; a killed process leaves it
    behind, and the next one takes it over.

    Raises:
        TakenOver: in the block, when it publishes a file after another process began.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    claim = path.with_name(f".{path.name}.maker")
    words = f"process {os.getpid()} on {socket.gethostname()} (begun {datetime.now()})"
    lock = _locked(claim, f"making {path}")
    os.truncate(lock, 0)
    os.pwrite(lock, words.encode(), 0)
    _claims.append((claim, words))
    try:
        yield
    finally:
        _claims.remove((claim, words))
        if _words(claim) == words:
            claim.unlink()
        os.close(lock)


def _require_claims() -> None:
    for claim, words in _claims:
        if _words(claim) != words:
            raise TakenOver(
                f"{_words(claim) or 'somebody'} has taken {claim} over; nothing more is written here"
            )


def _words(claim: Path) -> str:
    """Who holds a claim. It is opened, not looked up, since network disks then ask their server."""
    try:
        return claim.read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to, and rename it to `path` when the block ends well.

    The sibling (``.name.part-XXXX.suffix``) keeps the suffix, since encoders choose the container by it. Its
    name is its writer's alone, so that two writers cannot mix their bytes; the last to end wins. What killed
    writers of this file left behind is removed. The bytes are on the disk before the name is.

    Raises:
        OSError: the block wrote no file, or the disk is full; it names `path`.
        TakenOver: see `sole_maker`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{path.stem.removeprefix('.')}.part-"
    _remove_leftovers(path.parent, start, path.suffix)
    part = path.with_name(f"{start}{secrets.token_hex(4)}{path.suffix}")
    lock = _locked(part, f"clearing up for {path}")
    try:
        yield part
        _flush(part)
        _require_claims()
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and Path(error.filename or part).name.startswith(part.stem):
            error.filename = str(path)
        raise
    finally:
        os.close(lock)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary sibling folder to fill, and rename it to `path` when the block ends well.

    A folder that has the name already is replaced: whoever looks sees the old one, none, or the new one, and
    never a part. What killed writers of this folder left behind is removed.

    Raises:
        OSError: the disk is full; it names `path`.
        TakenOver: see `sole_maker`.
    """
    start = f".{path.name}.part-"
    with sole_maker(path):
        _remove_folders(path.parent, start)
        part = path.with_name(f"{start}{secrets.token_hex(4)}")
        part.mkdir()
        try:
            yield part
            for file in part.iterdir():
                _flush(file)
            _require_claims()
            if path.exists():
                path.rename(path.with_name(f"{start}{secrets.token_hex(4)}"))
            part.rename(path)
        except OSError as error:
            if Path(error.filename or part).is_relative_to(part):
                error.filename = str(path)
            raise
        finally:
            _remove_folders(path.parent, start)


def _remove_folders(parent: Path, start: str) -> None:
    """Remove folders of which nobody else is the writer."""
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start)]
    for name in names:
        shutil.rmtree(parent / name)


def remove(path: Path) -> None:
    """Delete an output, if it is there.

    Raises:
        TakenOver: see `sole_maker`.
    """
    _require_claims()
    path.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, start: str, suffix: str) -> None:
    """Remove temporary files whose writer is dead, with what stands beside them under the same letters."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start)]
    # A file of the same stem but another suffix has its own writer, who may be alive.
    ours = {name.removeprefix(start).removesuffix(suffix) for name in names if name.endswith(suffix)}
    for letters in {part for part in ours if "." not in part}:
        with _free(folder / f"{start}{letters}{suffix}") as free:
            for name in names if free else []:
                if name.startswith(f"{start}{letters}."):
                    (folder / name).unlink(missing_ok=True)


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Keep a file, if there is one, from being locked; False if it is locked, or that cannot be known."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    except PermissionError:
        yield False
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, *NO_LOCKS):
            raise
        yield False
    else:
        yield True
    finally:
        os.close(file)


def _locked(path: Path, what: str) -> int:
    """Open a file, made if it is not there, and lock it; waits while another living process holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for {_words(path) or 'another process'}, which is {what}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(file)
                raise
        if _is_open_as(file, path):
            return file
        os.close(file)


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


def why_not_written(error: OSError) -> str | None:
    """Why a file could not be written and what to do, in one line; None: it was something else."""
    if error.errno not in _NOT_WRITTEN:
        return None
    reason = _NOT_WRITTEN[error.errno].format(temporary=tempfile.gettempdir())
    return f"{error.filename or 'a file'}: {reason}, then give the same command again"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(
            json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
        )


def sampled_digest(path: Path) -> str:
    """Hex digest of a file's size and, where it is large, of parts of it: at both ends, and evenly between.

    It tells a file that was put in another's place, whatever its time, without reading gigabytes.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for part in range(SAMPLES):
            file.seek(part * max(0, size - SAMPLE) // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
