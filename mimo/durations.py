"""How long a video is, as its header says: what can be known of it before any job has run."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import av

from mimo.files import write_json
from mimo.stage import Rejected
from mimo.untrusted_video import opened
from mimo.weights import cache_dir


def seconds_of(path: Path) -> float:
    """Seconds of a video; 0 where its header does not say, or it cannot be read (ingest will tell why).

    Remembered in the cache folder for as long as size and time of the file stay the same, so that a folder of
    a thousand videos is looked at once.
    """
    try:
        status = path.stat()
    except OSError:
        return 0.0
    return _remembered(path.resolve(), status.st_size, status.st_mtime_ns, cache_dir() / "durations")


@cache
def _remembered(path: Path, size: int, time: int, folder: Path) -> float:
    note = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError, KeyError):
        noted = json.loads(note.read_bytes())
        if noted["state"] == [size, time]:
            return float(noted["seconds"])
    seconds = _read(path)
    write_json(note, {"path": str(path), "state": [size, time], "seconds": seconds})
    return seconds


def _read(path: Path) -> float:
    try:
        with opened(path) as (container, stream):
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return (container.duration or 0) / av.time_base
    except Rejected:
        return 0.0
