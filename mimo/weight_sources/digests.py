"""Digests of files that are too large to read each time.

A digest is read from the file once and kept in the cache folder for as long as the file's size, time and
inode stay the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path

from mimo.files import sha256, write_json
from mimo.weights import cache_dir

LONG = 1 << 30
"""Bytes above which reading a file takes seconds, so that it is said."""


def recorded_digest(path: Path) -> str:
    """SHA-256 of a file, read at most once as long as the file stays as it is."""
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns, status.st_ino]
    return _digest(path.resolve(), tuple(state), cache_dir() / "digests")


def note_digest(path: Path, digest: str) -> None:
    """Record a digest that was read from the file just now."""
    status = path.stat()
    _write_note(path.resolve(), [status.st_size, status.st_mtime_ns, status.st_ino], digest)


@cache
def _digest(path: Path, state: tuple[int, ...], folder: Path) -> str:
    note = _note(path, folder)
    if note.is_file():
        noted = json.loads(note.read_bytes())
        if noted["path"] == str(path) and noted["state"] == list(state):
            return str(noted["sha256"])
    if state[0] > LONG:
        print(f"{path}: {state[0] / 1e9:.1f} GB, reading it once for its digest", file=sys.stderr)
    digest = sha256(path)
    if path.stat().st_mtime_ns == state[1]:
        _write_note(path, list(state), digest)
    return digest


def _note(path: Path, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"


def _write_note(path: Path, state: list[int], digest: str) -> None:
    note = _note(path, cache_dir() / "digests")
    write_json(note, {"path": str(path), "state": state, "sha256": digest})


def content_digests(path: Path) -> list[str]:
    """Name and digest of a file, or of each file in a folder in name order, hidden ones left out."""
    if path.is_file():
        return [f"{path.name} {recorded_digest(path)}"]
    files = sorted(found for found in path.rglob("*") if found.is_file())
    names = [(file.relative_to(path), file) for file in files]
    return [
        f"{name} {recorded_digest(file)}"
        for name, file in names
        if not any(part.startswith(".") for part in name.parts)
    ]
