"""Results of PHALP, the tracker of 4D-Humans, as it saves them: ``results/NAME.pkl`` by joblib.

A dictionary by picture path; of each picture lists over the tracks: `tid`, `bbox` (left, top, width, height),
`tracked_time` (0: seen in this picture), `smpl` (rotation matrices and betas), `camera` (translation before a
focal length of 5000 pixels for the picture padded to a square of 256), `size` (height, width).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimo.restricted_pickle import load_joblib
from mimo.stage import Rejected

LISTS = ("tid", "bbox", "tracked_time", "smpl", "camera", "size")
JOINTS = 24


@dataclass(frozen=True, eq=False)
class Sight:
    """One person in one picture.

    Attributes:
        box: (4,) left, top, right, bottom, pixels of a picture of `size` (height, width).
        rotations: (24, 3, 3) SMPL's.
        shape: (10,).
        translation: (3,) metres.
    """

    box: np.ndarray
    rotations: np.ndarray
    shape: np.ndarray
    translation: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Results:
    """All tracks of a clip.

    Attributes:
        frames: pictures that the results tell of.
        tracks: by the track's number, by the picture's (from 0): where the person was seen.
    """

    frames: int
    tracks: dict[int, dict[int, Sight]]


def read_results(path: Path) -> Results:
    """Read a results file.

    Raises:
        Rejected: missing, damaged, hostile, or no results of PHALP.
    """
    content = load_joblib(path, "results of PHALP (results/NAME.pkl)")
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise Rejected(f"{path}: not results of PHALP: no dictionary of pictures")
    tracks: dict[int, dict[int, Sight]] = {}
    times = []
    try:
        for order, name in enumerate(sorted(content, key=str)):
            entry = content[name]
            times.append(int(entry.get("time", order)))
            for number, sight in _sights(entry):
                tracks.setdefault(number, {})[times[-1]] = sight
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        lacking = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise Rejected(f"{path}: not results of PHALP for 4D-Humans: picture {name} {lacking}") from error
    if not tracks:
        raise Rejected(f"{path}: nobody was tracked in any of its {len(content)} pictures")
    first = min(times)
    moved = {
        number: {time - first: sight for time, sight in track.items()} for number, track in tracks.items()
    }
    return Results(max(times) - first + 1, moved)


def _sights(entry: dict[str, Any]) -> list[tuple[int, Sight]]:
    """Tracks that were seen in a picture; those that PHALP only predicts there are left out."""
    lists = {name: list(entry[name]) for name in LISTS}
    if len({len(values) for values in lists.values()}) != 1:
        raise ValueError(f"has lists of different lengths ({', '.join(LISTS)})")
    found = []
    for number, box, age, smpl, camera, size in zip(*(lists[name] for name in LISTS), strict=True):
        if age == 0:
            left, top, width, height = (float(value) for value in np.asarray(box, float).ravel())
            turns = [
                np.asarray(smpl[name], float).reshape(-1, 3, 3) for name in ("global_orient", "body_pose")
            ]
            sight = Sight(
                np.array([left, top, left + width, top + height]),
                _shaped(np.concatenate(turns), (JOINTS, 3, 3)),
                _shaped(np.asarray(smpl["betas"], float).ravel(), (10,)),
                _shaped(np.asarray(camera, float).ravel(), (3,)),
                (int(size[0]), int(size[1])),
            )
            found.append((int(number), sight))
    return found


def _shaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"has values {values.shape}, not {shape}, or some that are not finite")
    return values


def best_track(
    results: Results, boxes: list[np.ndarray | None], picture_of: Callable[[int], int], scale: float
) -> tuple[int, float]:
    """The track that overlaps the person's boxes most.

    Args:
        results: of the clip.
        boxes: (4,) of the person in each frame, None where there is none.
        picture_of: the results' picture of a frame.
        scale: pixels of the clip over those of the results.

    Returns:
        The track's number, and its mean intersection over union, 0..1, over the frames with a box; frames in
        which the track was not seen count as 0.
    """
    best = (next(iter(results.tracks)), -1.0)
    wanted = [(frame, box) for frame, box in enumerate(boxes) if box is not None]
    for number, track in results.tracks.items():
        overlap = sum(
            _overlap(track[picture_of(frame)].box * scale, box)
            for frame, box in wanted
            if picture_of(frame) in track
        )
        if overlap / max(len(wanted), 1) > best[1]:
            best = (number, overlap / max(len(wanted), 1))
    return best


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = sum(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (first, second))
    return common / max(areas - common, 1e-9)
