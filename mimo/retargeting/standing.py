"""When the driver's feet and hands stand on the ground, over a whole motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mimo.body.figure import Figure
from mimo.body.motion import Motion
from mimo.body.rig import SIDES
from mimo.body.world import World
from mimo.retargeting.contacts import Stance, stances

FRAMES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Standing:
    """Stances of the left and the right foot, and of the left and the right hand."""

    feet: tuple[list[Stance], list[Stance]]
    hands: tuple[list[Stance], list[Stance]]


NEVER = Standing(([], []), ([], []))
"""Of a motion whose ground is not known, or moves with the camera."""


def standing(motion: Motion, figure: Figure, world: World, fps: float) -> Standing:
    """Find the stances of a motion, each at the height of the ground as the motion has it there.

    Args:
        motion: seen by a camera that stands still, above a known ground.
        figure: whose motion it is.
        world: of the motion.
        fps: frames a second.
    """
    points = np.empty((4, len(motion), 2, 3))
    for start in range(0, len(motion), FRAMES_AT_ONCE):
        part = range(start, min(start + FRAMES_AT_ONCE, len(motion)))
        poses, places = world.poses(motion, figure, part)
        for number, side in enumerate(SIDES):
            points[number, part.start : part.stop] = figure.foot_points(poses, places, side)
            points[2 + number, part.start : part.stop] = hand_points(figure, places, side)
    found = [[_on_own_ground(stance, track) for stance in stances(track, fps)] for track in points]
    return Standing((found[0], found[1]), (found[2], found[3]))


def hand_points(figure: Figure, places: np.ndarray, side: str) -> np.ndarray:
    """(T, 2, 3) wrist and root of the middle finger, of `places` (T, J, 3)."""
    limbs = figure.rig.limbs
    return places[:, [limbs[f"{side}_wrist"][0], limbs[f"{side}_hand"][0]]]


def _on_own_ground(stance: Stance, points: np.ndarray) -> Stance:
    """A fitted ground is never quite that under the fitted feet: a stance keeps its own height."""
    touching = points[stance.start : stance.stop, :, 2][stance.touches]
    return replace(stance, height=float(np.median(touching)))
