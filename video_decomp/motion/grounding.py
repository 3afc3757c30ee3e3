"""Feet on the ground: planted feet neither slide nor sink nor float.

While a foot stands, heel and ball keep their places (whichever of them touch), and the foot is flat while
both do. Before and after, the correction fades. The hips follow where the legs would not reach, then each leg
is bent by inverse kinematics of its two segments, the knee's direction kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import bent, leg, segments
from mimo.body.rig import SIDES
from mimo.retargeting.contacts import Stance, ground_height, stances
from mimo.retargeting.hips import drop_to_reach, envelope, settled
from mimo.retargeting.planting import Foot, planted, with_bent_toes

STRAIGHT = 0.999
"""Part of the leg's length that hip and ankle are apart at most."""


@dataclass(frozen=True, eq=False)
class Grounded:
    """Poses with feet on the ground (z = 0), and when each foot stands.

    Attributes:
        poses: the result.
        before: the same before the feet were corrected.
        standing: stances of the left and of the right foot.
    """

    poses: Poses
    before: Poses
    standing: tuple[list[Stance], list[Stance]]


def on_ground(poses: Poses, figure: Figure, fps: float, *, fixed: bool = True) -> Grounded:
    """Put a body on the ground and keep its feet where they stand.

    Args:
        poses: at any height.
        figure: whose they are.
        fps: frames a second.
        fixed: False only brings the whole motion to the ground.
    """
    lowest = figure.skin(poses, figure.sample)[:, :, 2].min(1)
    poses = poses.moved(np.array([0, 0, -ground_height(lowest)]))
    before, places = poses, figure.places(poses)
    standing = tuple(stances(figure.foot_points(poses, places, side), fps) for side in SIDES)
    if not fixed:
        return Grounded(poses, poses, (standing[0], standing[1]))
    feet = [
        _planted(poses, places, figure, side, own, fps) for side, own in zip(SIDES, standing, strict=True)
    ]
    ankles = [places[:, leg(figure, side).end] for side in SIDES]
    moved = [foot.ankle - ankle for foot, ankle in zip(feet, ankles, strict=True)]
    poses = poses.moved(settled(moved, [foot.planted for foot in feet], fps))
    poses = poses.moved(_reached(poses, feet, figure, fps))
    for side, foot in zip(SIDES, feet, strict=True):
        poses = _stepped(poses, foot, figure, side)
    sunk = figure.skin(poses, figure.sample[~figure.is_foot])[:, :, 2].min(1)
    lift = envelope(np.maximum(-sunk, 0), fps)
    if lift.max() > 0:
        poses = poses.moved(lift[:, None] * np.array([0, 0, 1.0]))
        for side, foot in zip(SIDES, feet, strict=True):
            poses = _stepped(poses, foot, figure, side)
    for side in SIDES:
        ball = figure.foot_points(poses, figure.places(poses), side)[:, 1, 2]
        poses = with_bent_toes(poses, figure, side, ball)
    return Grounded(poses, before, (standing[0], standing[1]))


def _planted(
    poses: Poses, places: np.ndarray, figure: Figure, side: str, standing: list[Stance], fps: float
) -> Foot:
    """A foot that stands still in its stances, and never sinks."""
    bone = figure.rig.limbs[f"{side}_ankle"][0]
    points = figure.contacts(side) - figure.heads[bone]
    foot = planted(Foot.of(poses, places, bone), standing, points, figure.clearance(side), fps)
    # Above the ground a foot only must not sink; its toes will bend.
    vertices = figure.foot_vertices(side)
    vertices = vertices[vertices[:, 1] > figure.contacts(side)[1, 1]][::4] - figure.heads[bone]
    low = (vertices @ foot.turn.swapaxes(1, 2))[:, :, 2].min(1) + foot.ankle[:, 2]
    sunk = np.where(foot.planted, 0, np.maximum(-low, 0))
    return replace(foot, ankle=foot.ankle + sunk[:, None] * np.array([0, 0, 1.0]))


def _reached(poses: Poses, feet: list[Foot], figure: Figure, fps: float) -> np.ndarray:
    """(T, 3) how far the hips go down so that the legs reach feet that stand."""
    places = figure.places(poses)
    need = np.zeros(len(poses))
    for side, foot in zip(SIDES, feet, strict=True):
        limb = leg(figure, side)
        longest = np.full(len(poses), STRAIGHT * sum(segments(figure, limb)))
        drop = drop_to_reach(places[:, limb.root], foot.ankle, longest)
        need = np.maximum(need, np.where(foot.planted, drop, 0))
    return -envelope(need, fps)[:, None] * np.array([0, 0, 1.0])


def _stepped(poses: Poses, foot: Foot, figure: Figure, side: str) -> Poses:
    """Poses with one leg bent so that its foot is where it has to be, as far as it reaches."""
    return bent(poses, figure.places(poses), figure, leg(figure, side), foot.ankle, foot.turn)
