"""Where in a scene a motion begins and which way it goes, so that it stays in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mimo.body.camera import project
from mimo.stage import Rejected
from video_decomp.motion.placing import Ground, Mark, axes_at, bearing
from video_decomp.motion.view import shot_at
from video_decomp.staging.driver import Performance
from video_decomp.staging.interface import Placed

NEAR = 0.5
"""Metres from the camera within which nobody may come."""
FITS = 0.02
"""Share of the body's points over time that may be outside the picture."""
HIDDEN = 0.1
"""Share that may be behind what stands in front of the scene's person."""
OUTSIDE, TURNED = 4.0, 0.4
"""Costs of being outside the picture all the time, and of going the opposite way; of being hidden, 1."""
LOOKED_AT = 40
"""Frames of the motion that are looked at."""
SPREAD = 6
"""Of that many of the body's sample points one is looked at."""
TURNS = (0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180)
"""Degrees by which the way is turned where it does not fit, in this order."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A way to put a motion into a scene.

    Attributes:
        mark: place and way on the scene's ground.
        comes: what of the motion's way comes to the mark: its start, or its middle.
        turn: degrees by which it was turned from the mark's own way, for the record.
        cost: of not being the most natural one, see `put`.
    """

    mark: Mark
    comes: Literal["start", "middle"]
    turn: float
    cost: float


def turned(
    ground: Ground, mark: Mark, comes: Literal["start", "middle"], turns: Sequence[float], cost: float = 0
) -> list[Candidate]:
    """A mark with several ways, of which the first is the most natural."""
    return [
        Candidate(
            Mark(mark.place, ground.turned(mark.heading, turn)),
            comes,
            turn,
            cost + TURNED * abs(turn - turns[0]) / 180,
        )
        for turn in turns
    ]


def place_at(ground: Ground, x: float, y: float) -> np.ndarray:
    """(3,) the place on the ground that a pixel shows.

    Raises:
        Rejected: it shows the sky.
    """
    place = ground.at_pixel(x, y)
    if place is None:
        raise Rejected(f"pixel ({x:.0f}, {y:.0f}) is above the scene's horizon; give `at` on the ground")
    return place


def put(
    performance: Performance, ground: Ground, candidates: list[Candidate], front: np.ndarray | None = None
) -> Placed:
    """Put a performance where it costs least: outside the picture, hidden, or elsewhere than is natural.

    Args:
        performance: the motion.
        ground: of the scene.
        candidates: at least one, the most natural first.
        front: (h, w) uint8 mask of what stands in front there; None: nothing.
    """
    poses = performance.poses
    frames = np.unique(np.linspace(0, len(poses) - 1, LOOKED_AT).round().astype(int))
    sample = performance.figure.sample[::SPREAD]
    part = type(poses)(poses.turns[frames], poses.hips[frames])
    points = performance.figure.skin(part, sample)
    middle = (poses.hips.min(0) + poses.hips.max(0)) / 2
    anchors = {"start": poses.hips[0] * [1, 1, 0], "middle": middle * [1, 1, 0]}
    own = bearing(poses)
    best = None
    for candidate in candidates:
        axes = axes_at(ground, candidate.mark.heading, own)
        shot = shot_at(ground, axes, anchors[candidate.comes], candidate.mark.place, len(poses))
        seen = (points - shot.places[0]) @ axes.T
        outside = outside_picture(seen, ground.camera)
        share = float(outside.mean())
        behind = 0.0 if front is None else float(hidden(seen, ground.camera, front).mean())
        cost = candidate.cost + OUTSIDE * max(share - FITS, 0) + max(behind - HIDDEN, 0)
        if best is None or cost < best[0]:
            best = (cost, candidate, shot, seen, outside)
    assert best is not None, "there is always a candidate"
    _, candidate, shot, seen, outside = best
    share = float(outside.mean())
    nearest = float(seen[..., 2].min())
    start = project(ground.under(shot.axes[0] @ (anchors["start"] - shot.places[0])), ground.camera)
    warnings = []
    if share > FITS:
        count = int(outside.any(1).sum())
        warnings.append(
            f"the motion leaves the picture in {count / len(frames):.0%} of the time; choose `at`, `turn` or "
            "a smaller `scale`"
        )
    if nearest < NEAR:
        warnings.append(
            f"the motion comes as near as {max(nearest, 0):.2f} m to the camera; see `at`, `turn`"
        )
    metrics = {
        "at": [round(float(value), 1) for value in start],
        "turn": round(candidate.turn, 1),
        "outside_share": round(share, 4),
        "nearest_m": round(nearest, 2),
        "camera_height_m": round(ground.height, 3),
    }
    return Placed(shot, metrics, warnings)


def outside_picture(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Which points (T, N, 3) in camera space are not seen, or too near: (T, N) bool."""
    near = points[..., 2] < NEAR
    pixels = project(np.where(near[..., None], [0, 0, 1.0], points), camera)
    return np.asarray(near | ((pixels < 0) | (pixels > camera[3:])).any(-1))


def hidden(points: np.ndarray, camera: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Which points (T, N, 3) in camera space lie behind a mask (h, w) uint8: (T, N) bool."""
    inside = ~outside_picture(points, camera)
    pixels = project(np.where(inside[..., None], points, [0, 0, 1.0]), camera).astype(int)
    column, row = (np.clip(pixels[..., axis], 0, front.shape[1 - axis] - 1) for axis in (0, 1))
    return np.asarray(inside & (front[row, column] > 127))
