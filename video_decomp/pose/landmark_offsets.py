"""Where BlazePose puts its landmarks, compared with the body's own key points."""

from __future__ import annotations

import functools

import numpy as np

from mimo.body.model import KEY_POINTS

# Metres outwards, back, up, in the reference pose; the same on both sides.
# Calibrated so that the mean residual of each landmark vanishes in fits of two people in two videos, one
# from the front and one from the side. The ears differ most: BlazePose has them at the temples.
OFFSETS: dict[str, tuple[float, float, float]] = {
    "nose": (0.0, 0.002, 0.001),
    "eye_inner": (-0.006, 0.008, -0.004),
    "eye": (-0.008, 0.007, -0.006),
    "eye_outer": (-0.011, 0.014, -0.004),
    "ear": (-0.03, -0.028, -0.005),
    "mouth": (-0.005, 0.011, 0.001),
    "shoulder": (-0.008, 0.002, -0.005),
    "elbow": (-0.003, -0.002, -0.006),
    "wrist": (0.003, -0.006, -0.007),
    "pinky": (-0.017, -0.003, 0.014),
    "index": (-0.002, 0.028, -0.009),
    "thumb": (0.025, 0.008, -0.019),
    "hip": (0.002, -0.013, -0.004),
    "knee": (-0.007, -0.008, 0.009),
    "ankle": (-0.0, -0.002, 0.004),
    "heel": (0.0, 0.001, -0.015),
    "foot_index": (0.006, 0.018, 0.006),
}


@functools.cache
def landmark_offsets() -> np.ndarray:
    """(33, 3) metres, model axes (left, back, up): rest position of a landmark minus its key point's."""
    result = np.zeros((len(KEY_POINTS), 3))
    for number, name in enumerate(KEY_POINTS):
        part = name.removeprefix("left_").removeprefix("right_").removesuffix("_left").removesuffix("_right")
        side = -1 if "right" in name else 1
        result[number] = np.array(OFFSETS.get(part, (0, 0, 0))) * (side, 1, 1)
    return result
