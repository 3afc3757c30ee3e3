"""The driver's poses on another body: first its hips, then the legs, then the arms."""

from __future__ import annotations

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import arm, bent, leg, segments
from mimo.body.rig import SIDES
from mimo.retargeting.feet import (
    MOST_FREE,
    at_most,
    may_stretch,
    nearness_to_ground,
    sole_points,
    wanted_ankle,
)
from mimo.retargeting.hips import carried, drop_to_reach, envelope, pulled, raised, rise
from mimo.retargeting.planting import Foot, with_bent_toes
from mimo.retargeting.reaching import size_ratio, with_hands
from mimo.retargeting.stretch import Stretch

UP = np.array([0.0, 0.0, 1.0])
WIDE = 0.6
"""Part of an arm's length that a hand on the ground may be aside of the shoulder before the hips go down."""


def performed(stretch: Stretch, actor: Figure) -> Poses:
    """A stretch of the driver's motion on another body.

    Args:
        stretch: of the driver.
        actor: the other body, of the same body model.
    """
    poses = stretch.poses.moved(_over_the_ground(stretch, actor) + stretch.settled)
    poses = poses.moved(_rise(stretch, actor, poses)[:, None] * UP)
    poses = poses.moved(-envelope(_needed_drop(stretch, actor, poses), stretch.fps)[:, None] * UP)
    poses = poses.moved(envelope(_needed_lift(stretch, actor, poses), stretch.fps)[:, None] * UP)
    for number in range(len(SIDES)):
        poses = _stepping(stretch, actor, poses, number)
    return with_hands(stretch, actor, poses)


def _over_the_ground(stretch: Stretch, actor: Figure) -> np.ndarray:
    """(T, 3) what brings the hips over what carries the body."""
    poses = stretch.poses
    places = actor.places(poses)
    points = [actor.skin(poses, stretch.landmarks.support, places)]
    points += [actor.foot_points(poses, places, side) for side in SIDES]
    return carried(stretch.support, np.concatenate(points, 1), stretch.fps)


def _rise(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres by which the legs become as straight as the driver's."""
    places, rises = actor.places(poses), []
    for number, side in enumerate(SIDES):
        limb = leg(actor, side)
        length = stretch.legs_stretched[number] * sum(segments(actor, limb))
        rises.append(rise(places[:, limb.root], _ankle(stretch, actor, number, places), length))
    return raised(rises, stretch.above, stretch.fps)


def _needed_drop(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres that the hips go down so that feet reach their footprints, and hands the ground."""
    places, need = actor.places(poses), np.zeros(len(poses))
    for number, side in enumerate(SIDES):
        limb = leg(actor, side)
        longest = may_stretch(stretch.legs_stretched[number]) * sum(segments(actor, limb))
        drop = drop_to_reach(places[:, limb.root], _ankle(stretch, actor, number, places), longest)
        need = np.maximum(need, stretch.grip[number] * drop)
        limb, ground = arm(actor, side), stretch.hands_on_ground[number]
        longest = may_stretch(stretch.arms_stretched[number]) * sum(segments(actor, limb))
        hand, shoulder = actor.skin(poses, stretch.landmarks.hands[number], places), places[:, limb.root]
        target = places[:, limb.end] + ground.gap(hand, size_ratio(stretch, actor))
        drop = drop_to_reach(shoulder, pulled(shoulder, target, WIDE * longest), longest)
        need = np.maximum(need, ground.share * drop)
    return need


def _needed_lift(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres by which the trunk would be deeper in the ground than the driver's whole body is."""
    lowest = actor.skin(poses, stretch.landmarks.trunk)[:, :, 2].min(1)
    allowed = stretch.support[:, :, 2].min(1)
    if stretch.ground_known:
        allowed = np.minimum(allowed, 0)
    return np.maximum(allowed - lowest, 0)


def _stepping(stretch: Stretch, actor: Figure, poses: Poses, number: int) -> Poses:
    """Poses with one foot where it has to be."""
    places, limb = actor.places(poses), leg(actor, SIDES[number])
    ratio = stretch.legs_stretched[number]
    # A leg that does not stand is not stretched more than the driver's, so that its knee does not snap.
    most = ratio + stretch.grip[number] * np.maximum(MOST_FREE - ratio, 0)
    target = _ankle(stretch, actor, number, places)
    target = at_most(places[:, limb.root], target, most * sum(segments(actor, limb)))
    allowed = np.minimum(stretch.soles[number][:, :, 2].min(1), stretch.ground)
    low = target[:, 2] + _hanging_sole(stretch, actor, number)[:, :, 2].min(1)
    target = target + np.maximum(allowed - low, 0)[:, None] * UP
    poses = bent(poses, places, actor, limb, target, stretch.feet[number].turn, may_stretch(ratio))
    heel, ball = actor.foot_points(poses, actor.places(poses), SIDES[number])[:, :, 2].T
    level = np.where(stretch.feet[number].planted, np.minimum(heel, ball), stretch.ground)
    return with_bent_toes(poses, actor, SIDES[number], ball - level)


def _ankle(stretch: Stretch, actor: Figure, number: int, places: np.ndarray) -> np.ndarray:
    """(T, 3) where an ankle has to be."""
    ours, free = _hanging_sole(stretch, actor, number), places[:, leg(actor, SIDES[number]).end]
    near = nearness_to_ground(stretch.feet[number], stretch.above[number], stretch.grip[number])
    return wanted_ankle(stretch.soles[number], ours, free, near)


def _hanging_sole(stretch: Stretch, actor: Figure, number: int) -> np.ndarray:
    """(T, 2, 3) under heel and ball of a foot that is turned as the driver's, from its ankle."""
    foot = stretch.feet[number]
    hanging = Foot(np.zeros_like(foot.ankle), foot.turn, foot.planted)
    return sole_points(hanging, actor, SIDES[number])
