"""The driver's poses on another body: first its hips, then the legs, then the arms."""

from __future__ import annotations

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import Limb, arm, bent, leg, segments
from mimo.body.rig import SIDES
from mimo.retargeting.feet import FREE, MOST_FREE, at_most, sole_points, stretched, wanted_ankle
from mimo.retargeting.hands import mixed
from mimo.retargeting.hips import carried, drop_to_reach, envelope, pulled, raised, rise
from mimo.retargeting.planting import Foot
from mimo.retargeting.stretch import Stretch

UP = np.array([0.0, 0.0, 1.0])
WIDE = 0.6
"""Part of an arm's length that a hand on the ground may be aside of the shoulder before the hips go down."""
ROUNDS = 2
"""How often the arms are moved, since each is near the other."""


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
    for number, side in enumerate(SIDES):
        places = actor.places(poses)
        limb, foot, ratio = leg(actor, side), stretch.feet[number], _leg_ratio(stretch, number)
        # A leg that does not stand is not stretched more than the driver's, so that its knee does not snap.
        most = ratio + stretch.grip[number] * np.maximum(MOST_FREE - ratio, 0)
        target = _ankle(stretch, actor, number, places)
        target = at_most(places[:, limb.root], target, most * sum(segments(actor, limb)))
        poses = bent(poses, places, actor, limb, target, foot.turn, ratio.clip(FREE, MOST_FREE))
    return _with_hands(stretch, actor, poses)


def _over_the_ground(stretch: Stretch, actor: Figure) -> np.ndarray:
    """(T, 3) what brings the hips over what carries the body."""
    poses = stretch.poses
    places = actor.places(poses)
    points = [actor.skin(poses, stretch.landmarks.support, places)]
    points += [actor.foot_points(poses, places, side) for side in SIDES]
    return carried(stretch.support, np.concatenate(points, 1), stretch.fps)


def _rise(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres by which the legs become as straight as the driver's."""
    places, rises, above = actor.places(poses), [], []
    for number, side in enumerate(SIDES):
        limb = leg(actor, side)
        theirs = stretch.places[:, leg(stretch.driver, side).root] - stretch.feet[number].ankle
        theirs = np.linalg.norm(theirs + stretch.settled, axis=1)
        length = sum(segments(actor, limb)) / sum(segments(stretch.driver, leg(stretch.driver, side)))
        target = _ankle(stretch, actor, number, places)
        rises.append(rise(places[:, limb.root], target, theirs * length))
        above.append(stretch.above[number])
    return raised(rises, above, stretch.fps)


def _needed_drop(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres that the hips go down so that feet reach their footprints, and hands the ground."""
    places = actor.places(poses)
    need = np.zeros(len(poses))
    for number, side in enumerate(SIDES):
        limb = leg(actor, side)
        longest = _leg_ratio(stretch, number).clip(FREE, MOST_FREE) * sum(segments(actor, limb))
        target = _ankle(stretch, actor, number, places)
        drop = drop_to_reach(places[:, limb.root], target, longest)
        need = np.maximum(need, stretch.grip[number] * drop)
        limb, ground = arm(actor, side), stretch.hands_on_ground[number]
        hand = actor.skin(poses, stretch.landmarks.hands[number], places)
        target = places[:, limb.end] + ground.gap(hand, _scale(stretch, actor))
        longest = _arm_free(stretch, number) * sum(segments(actor, limb))
        shoulder = places[:, limb.root]
        need = np.maximum(
            need, ground.share * drop_to_reach(shoulder, pulled(shoulder, target, WIDE * longest), longest)
        )
    return need


def _needed_lift(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres by which the trunk would be deeper in the ground than the driver's whole body is."""
    lowest = actor.skin(poses, stretch.landmarks.trunk)[:, :, 2].min(1)
    allowed = stretch.support[:, :, 2].min(1)
    if stretch.ground_known:
        allowed = np.minimum(allowed, 0)
    return np.maximum(allowed - lowest, 0)


def _ankle(stretch: Stretch, actor: Figure, number: int, places: np.ndarray) -> np.ndarray:
    """(T, 3) where an ankle has to be."""
    side, foot, theirs = SIDES[number], stretch.feet[number], stretch.soles[number]
    hanging = Foot(np.zeros_like(foot.ankle), foot.turn, foot.planted)
    ours, free = sole_points(hanging, actor, side), places[:, leg(actor, side).end]
    return wanted_ankle(foot, theirs, ours, free, stretch.above[number])


def _leg_ratio(stretch: Stretch, number: int) -> np.ndarray:
    """(T,) part of its length by which the driver's leg is stretched."""
    limb = leg(stretch.driver, SIDES[number])
    moved = stretch.feet[number].ankle - stretch.places[:, limb.end] - stretch.settled
    return stretched(stretch.places, stretch.driver, limb, moved)


def _arm_free(stretch: Stretch, number: int) -> np.ndarray:
    """(T,) part of its length by which an arm may be stretched."""
    ratio = stretched(stretch.places, stretch.driver, arm(stretch.driver, SIDES[number]))
    return ratio.clip(FREE, MOST_FREE)


def _scale(stretch: Stretch, actor: Figure) -> float:
    """Height of the other body over that of the driver."""
    return float(np.ptp(actor.body.rest_vertices[:, 2]) / np.ptp(stretch.driver.body.rest_vertices[:, 2]))


def _with_hands(stretch: Stretch, actor: Figure, free: Poses) -> Poses:
    """Poses whose hands keep to what the driver's are near.

    Args:
        stretch: of the driver.
        actor: the other body.
        free: its poses with the arms' directions kept.
    """
    marks, places = stretch.landmarks, actor.places(free)
    body = actor.skin(free, marks.body, places)
    hands = [actor.skin(free, hand, places) for hand in marks.hands]
    arms = [actor.skin(free, vertices, places) for vertices in marks.arms]
    limbs = [arm(actor, side) for side in SIDES]
    scale = _scale(stretch, actor)
    moved = [np.zeros((len(free), 3))] * len(SIDES)
    poses = free
    for _ in range(ROUNDS):
        apart = stretch.left_on_right.gap(hands[0] + moved[0][:, None], hands[1] + moved[1][:, None], scale)
        moved = [
            mixed(
                [ground.share, on_body.share, stretch.left_on_right.share],
                [
                    _to_ground(stretch, actor, number, places, ground.gap(hands[number], scale)),
                    on_body.gap(hands[number], np.concatenate([body, arms[1 - number]], 1), scale),
                    moved[number] + (0.5 - number) * apart,
                ],
            )
            for number, (ground, on_body) in enumerate(
                zip(stretch.hands_on_ground, stretch.hands_on_body, strict=True)
            )
        ]
        poses = free
        for number, limb in enumerate(limbs):
            poses = _reaching(stretch, actor, poses, places, limb, number, moved[number])
        now = actor.places(poses)
        arms = [actor.skin(poses, vertices, now) for vertices in marks.arms]
        moved = [now[:, limb.end] - places[:, limb.end] for limb in limbs]
    return poses


def _to_ground(
    stretch: Stretch, actor: Figure, number: int, places: np.ndarray, gap: np.ndarray
) -> np.ndarray:
    """(T, 3) what brings a hand to the ground, nearer to the shoulder where the arm is too short."""
    limb = arm(actor, SIDES[number])
    shoulder, wrist = places[:, limb.root], places[:, limb.end]
    longest = _arm_free(stretch, number) * sum(segments(actor, limb))
    height = wrist[:, 2] + gap[:, 2] - shoulder[:, 2]
    across = np.sqrt(np.maximum(longest**2 - height**2, 0))
    return pulled(shoulder, wrist + gap, across) - wrist


def _reaching(
    stretch: Stretch,
    actor: Figure,
    poses: Poses,
    places: np.ndarray,
    limb: Limb,
    number: int,
    moved: np.ndarray,
) -> Poses:
    """Poses with one hand moved by (T, 3) metres."""
    return bent(poses, places, actor, limb, places[:, limb.end] + moved, free=_arm_free(stretch, number))
