"""What takes long to read from a file: read once, and kept for as long as the file stays as it is.

The cache folder holds one small note for each file and kind of value. A file is the same as long as its size,
its times and its inode are; the time of its last change (ctime) nobody can set, so that neither an older file
put in its place nor one written over with its old time goes unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mimo.files import write_json
from mimo.weights import cache_dir

Value = TypeVar("Value", str, float)

_known: dict[tuple[Path, str], tuple[list[int], str | float]] = {}
"""What this process has read or found noted, by note and file: the state of the file, and the value."""


def remembered(path: Path, kind: str, read: Callable[[Path], Value]) -> Value:
    """A value of a file, read at most once as long as the file stays as it is.

    Args:
        path: the file.
        kind: name of the value, and of the folder in the cache folder that it is noted in.
        read: gives the value; called with `path`.

    Raises:
        FileNotFoundError: there is no such file; and whatever `read` raises.
    """
    state = _state(path)
    note, place = _note(path, kind), str(path.resolve())
    known = _known.get((note, place))
    if known is None or known[0] != state:
        # A note may be missing, damaged, or of another version.
        with suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(note.read_bytes())
            if noted["path"] == place and noted["state"] == state:
                known = (state, noted["value"])
    if known is None or known[0] != state:
        known = (state, read(path))
        if _state(path) == state:
            _write(note, place, *known)
    _known[note, place] = known
    return known[1]  # type: ignore[return-value]


def remember(path: Path, kind: str, value: str | float) -> None:
    """Keep a value that was read from a file just now."""
    note, place = _note(path, kind), str(path.resolve())
    _known[note, place] = (_state(path), value)
    _write(note, place, *_known[note, place])


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _note(path: Path, kind: str) -> Path:
    return cache_dir() / kind / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}.json"


def _write(note: Path, place: str, state: list[int], value: str | float) -> None:
    # A cache folder that cannot be written, such as one that many share, only costs another reading.
    with suppress(OSError):
        write_json(note, {"path": place, "state": state, "value": value})
