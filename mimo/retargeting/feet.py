"""Where the feet of another body have to be so that they stand where and when the driver's do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import Limb, leg, segments
from mimo.retargeting.contacts import Stance
from mimo.retargeting.planting import Foot, eased, planted

NEAR, FAR = 0.1, 0.45
"""Metres above the ground up to which a foot is exactly where the driver's is, and from which on it is where
the leg's direction has it."""
TIPPED = (0.1, 0.4)
"""Cosines of a foot's tilt between which it comes to stand on its sole."""
FREE = 0.97
"""Part of a limb's length up to which it may be stretched, where the driver's is not stretched further."""
MOST_FREE = 0.998


def driver_foot(
    poses: Poses, places: np.ndarray, figure: Figure, side: str, stances: list[Stance], fps: float, first: int
) -> Foot:
    """The driver's foot, still while it stands; `first` is the frame with which `poses` begin."""
    bone = figure.rig.limbs[f"{side}_ankle"][0]
    points = figure.contacts(side) - figure.heads[bone]
    foot = Foot.of(poses, places, bone)
    return planted(foot, stances, points, figure.clearance(side), fps, first)


def within_reach(foot: Foot, figure: Figure, side: str, places: np.ndarray, moved: np.ndarray) -> Foot:
    """A foot no farther from its hip than the leg is long, or was stretched anyway.

    Args:
        foot: where it has to be.
        figure, side: whose, and which.
        places: (T, J, 3) of the bones.
        moved: (T, 3) what the hips are moved by.
    """
    limb = leg(figure, side)
    hip = places[:, limb.root] + moved
    was = np.linalg.norm(places[:, limb.end] - places[:, limb.root], axis=1)
    longest = np.maximum(was, MOST_FREE * sum(segments(figure, limb)))
    return replace(foot, ankle=at_most(hip, foot.ankle, longest))


def at_most(root: np.ndarray, end: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """(T, 3) ends of a limb on the way to `end` (T, 3), no farther from its root (T, 3) than (T,) metres."""
    way = end - root
    share = longest / np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    return np.asarray(root + np.minimum(share, 1)[:, None] * way)


def sole_points(foot: Foot, figure: Figure, side: str) -> np.ndarray:
    """(T, 2, 3) under heel and ball of a foot."""
    points = figure.contacts(side) - figure.heads[figure.rig.limbs[f"{side}_ankle"][0]]
    below = figure.clearance(side)[:, None] * np.array([0, 0, 1.0])
    return np.asarray(points @ foot.turn.swapaxes(1, 2) + foot.ankle[:, None] - below)


def wanted_ankle(theirs: np.ndarray, ours: np.ndarray, free: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Ankles (T, 3) with which a foot stands on the driver's footprint: ball on ball, at the same height.

    Args:
        theirs: (T, 2, 3) under heel and ball of the driver's foot.
        ours: (T, 2, 3) the same of the other foot, from its ankle.
        free: (T, 3) where the ankle would be by the leg's direction.
        near: (T,) how much the footprint counts, from `nearness_to_ground`.
    """
    place = theirs[:, 1, :2] - ours[:, 1, :2]
    height = theirs[:, :, 2].min(1) - ours[:, :, 2].min(1)
    return np.asarray(free + near[:, None] * (np.column_stack([place, height]) - free))


def nearness_to_ground(foot: Foot, above: np.ndarray, grip: np.ndarray) -> np.ndarray:
    """(T,) how much a foot keeps to the ground, 0..1; who lies has feet there that do not stand.

    Args:
        foot: the driver's.
        above: (T,) metres above the ground.
        grip: (T,) how much it stands.
    """
    upright = eased((foot.turn[:, 2, 2] - TIPPED[0]) / np.ptp(TIPPED))
    return np.maximum(eased((FAR - above) / (FAR - NEAR)) * upright, grip)


def may_stretch(ratio: np.ndarray) -> np.ndarray:
    """(T,) part of its length up to which a limb may be stretched, by that of the driver's."""
    return np.asarray(ratio.clip(FREE, MOST_FREE))


def stretched(places: np.ndarray, figure: Figure, limb: Limb, moved: np.ndarray | float = 0.0) -> np.ndarray:
    """(T,) part of its length by which a limb of the driver is stretched.

    Args:
        places: (T, J, 3) of the driver's bones.
        figure: the driver's.
        limb: which.
        moved: (T, 3) metres by which its end is farther from its root than in `places`.
    """
    reach = places[:, limb.end] - places[:, limb.root] + moved
    return np.asarray(np.linalg.norm(reach, axis=1) / sum(segments(figure, limb)))
