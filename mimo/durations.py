"""How long a video is, as its header says: what can be known of it before any job has run."""

from __future__ import annotations

from pathlib import Path

import av

from mimo.remembered import remembered
from mimo.stage import Rejected
from mimo.untrusted_video import opened


def seconds_of(path: Path) -> float:
    """Seconds of a video; 0 where its header does not say, or it cannot be read (ingest will tell why).

    Remembered, so that a folder of a thousand videos is looked at once.
    """
    try:
        return remembered(path, "durations", _read)
    except OSError:
        return 0.0


def _read(path: Path) -> float:
    try:
        with opened(path) as (container, stream):
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return (container.duration or 0) / av.time_base
    except Rejected:
        return 0.0
