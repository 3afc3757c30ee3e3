"""Digests of files that are too large to read each time."""

from __future__ import annotations

import sys
from pathlib import Path

from mimo.files import sha256
from mimo.remembered import remember, remembered

LONG = 1 << 30
"""Bytes above which reading a file takes seconds, so that it is said."""
_KIND = "digests"


def recorded_digest(path: Path) -> str:
    """SHA-256 of a file, read at most once as long as the file stays as it is."""
    return remembered(path, _KIND, _read)


def note_digest(path: Path, digest: str) -> None:
    """Record a digest that was read from the file just now."""
    remember(path, _KIND, digest)


def _read(path: Path) -> str:
    size = path.stat().st_size
    if size > LONG:
        print(f"{path}: {size / 1e9:.1f} GB, reading it once for its digest", file=sys.stderr)
    return sha256(path)


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
