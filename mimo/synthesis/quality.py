"""Numbers a finished video is judged by, measured on the decoded files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mimo.template import Template
from mimo.video import VideoReader

SAMPLES = 3
RING = (0.05, 0.12)
"""Distance from the person at which the scene is looked at, shares of the frame's shorter side."""
BODY_LEVEL = 10
"""Grey value above which a pixel of ``sdc.mp4`` is the body, as in the reference implementation."""


def scene_change(template: Template, result: Path) -> dict[str, float | None]:
    """How far a result differs from its scene beside the character, in a few frames spread over the clip.

    Args:
        template: with its videos.
        result: the finished video.

    Returns:
        ``around``: difference in brightness (levels) between result and ``bk.mp4`` in a ring around the
        driving person: the mean over the frames of the ring's median, so that shadow, hair and a character
        taller than the driver do not count. Only the character and things in front belong into the scene:
        more than a few levels are a box or a halo. ``away``: the same beyond the ring, about what coding
        costs. None where there is no such place.
    """
    numbers = template.frame_numbers
    reader = VideoReader(result)
    picks = np.unique(np.linspace(0, len(reader) - 1, SAMPLES + 2)[1:-1].round().astype(int)).tolist()
    driver_is_seen = "mask" in template.videos and not template.config.is_staged
    person = "mask" if driver_is_seen else "sdc"
    used = [person, "bk", *(["occ"] if template.has_occluder else [])]
    around: list[float] = []
    away: list[float] = []
    for pick in picks:
        number = int(numbers[pick])
        frames = {name: template.videos[name].frame(number) for name in used}
        height, width = frames["bk"].shape[0] // 2 * 2, frames["bk"].shape[1] // 2 * 2
        frames = {name: frame[:height, :width] for name, frame in frames.items()}
        difference = cv2.absdiff(_grey(reader.frame(pick)), _grey(frames["bk"]))
        inside = frames[person] > 127 if person == "mask" else _grey(frames[person]) > BODY_LEVEL
        if not inside.any():
            continue
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
        near, far = (share * min(height, width) for share in RING)
        free = ~(frames["occ"] > 0) if "occ" in frames else np.ones_like(distance, bool)
        for found, where in (
            (around, free & (distance > near) & (distance < far)),
            (away, free & (distance > far)),
        ):
            if where.any():
                found.append(float(np.median(difference[where])))
    return {"around": _mean(around), "away": _mean(away)}


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 2) if values else None
