"""The subject's sightings of a whole video, on their way to the segments of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from video_decomp.segmentation.subject import Sighting

COLUMNS = ("frame", "score", "box", "area", "in_full", "colours")


def packed(sightings: Mapping[int, Sighting], subject: dict[str, Any]) -> dict[str, np.ndarray]:
    """Sightings as arrays, one row each, and who the subject is."""
    people = [sightings[frame] for frame in sorted(sightings)]
    columns = {name: np.array([getattr(person, name) for person in people]) for name in COLUMNS}
    return columns | {"subject": np.array(json.dumps(subject))}


def rows(survey: Mapping[str, np.ndarray], first: int = 0) -> list[dict[str, Any]]:
    """Values of the sightings that `packed` wrote, with frames counted from frame `first`."""
    table = [survey[name] for name in COLUMNS]
    found = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*table, strict=True)]
    for row in found:
        row |= {"frame": int(row["frame"]) - first, "score": float(row["score"]), "area": float(row["area"])}
        row["in_full"] = bool(row["in_full"])
    return found


def subject_of(survey: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Who the subject is, for the record: of the whole video."""
    return dict(json.loads(str(survey["subject"])))
