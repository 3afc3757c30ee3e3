"""The driver's poses on another body: first its hips, then the legs, then the arms."""

from __future__ import annotations

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import Limb, arm, bent, leg, segments
from mimo.body.rig import SIDES
from mimo.retargeting.feet import sole_points, stretched, wanted_ankle
from mimo.retargeting.hands import mixed
from mimo.retargeting.hips import carried, drop_to_reach, envelope
from mimo.retargeting.planting import Foot
from mimo.retargeting.stretch import Stretch

UP = np.array([0.0, 0.0, 1.0])
ROUNDS = 2
"""How often the arms are moved, since each is near the other."""


def performed(stretch: Stretch, actor: Figure) -> Poses:
    """A stretch of the driver's motion on another body.

    Args:
        stretch: of the driver.
        actor: the other body, of the same body model.
    """
    poses = stretch.poses.moved(_over_the_ground(stretch, actor) + stretch.settled)
    poses = poses.moved(-envelope(_needed_drop(stretch, actor, poses), stretch.fps)[:, None] * UP)
    poses = poses.moved(envelope(_needed_lift(stretch, actor, poses), stretch.fps)[:, None] * UP)
    for number, side in enumerate(SIDES):
        places = actor.places(poses)
        target, foot = _ankle(stretch, actor, number, places), stretch.feet[number]
        poses = bent(poses, places, actor, leg(actor, side), target, foot.turn, _leg_free(stretch, number))
    return _with_hands(stretch, actor, poses)


def _over_the_ground(stretch: Stretch, actor: Figure) -> np.ndarray:
    """(T, 3) what brings the hips over what carries the body."""
    poses = stretch.poses
    places = actor.places(poses)
    points = [actor.skin(poses, stretch.landmarks.support, places)]
    points += [actor.foot_points(poses, places, side) for side in SIDES]
    return carried(stretch.support, np.concatenate(points, 1), stretch.fps)


def _needed_drop(stretch: Stretch, actor: Figure, poses: Poses) -> np.ndarray:
    """(T,) metres that the hips go down so that feet reach their footprints, and hands the ground."""
    places = actor.places(poses)
    need = np.zeros(len(poses))
    for number, side in enumerate(SIDES):
        limb = leg(actor, side)
        longest = _leg_free(stretch, number) * sum(segments(actor, limb))
        target = _ankle(stretch, actor, number, places)
        need = np.maximum(need, drop_to_reach(places[:, limb.root], target, longest))
        limb, ground = arm(actor, side), stretch.hands_on_ground[number]
        hand = actor.skin(poses, stretch.landmarks.hands[number], places)
        target = places[:, limb.end] + ground.share[:, None] * ground.gap(hand)
        longest = _arm_free(stretch, number) * sum(segments(actor, limb))
        drop = drop_to_reach(places[:, limb.root], target, longest)
        need = np.maximum(need, ground.share * drop)
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
    above = theirs[:, :, 2].min(1) - stretch.ground
    return wanted_ankle(
        theirs, sole_points(hanging, actor, side), places[:, leg(actor, side).end], above, foot.planted
    )


def _leg_free(stretch: Stretch, number: int) -> np.ndarray:
    limb = leg(stretch.driver, SIDES[number])
    moved = stretch.feet[number].ankle - stretch.places[:, limb.end] - stretch.settled
    return stretched(stretch.places, stretch.driver, limb, moved)


def _arm_free(stretch: Stretch, number: int) -> np.ndarray:
    return stretched(stretch.places, stretch.driver, arm(stretch.driver, SIDES[number]))


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
    scale = float(np.ptp(actor.body.rest_vertices[:, 2]) / np.ptp(stretch.driver.body.rest_vertices[:, 2]))
    moved = [np.zeros((len(free), 3))] * len(SIDES)
    poses = free
    for _ in range(ROUNDS):
        apart = stretch.left_on_right.gap(hands[0] + moved[0][:, None], hands[1] + moved[1][:, None], scale)
        moved = [
            mixed(
                [ground.share, on_body.share, stretch.left_on_right.share],
                [
                    ground.gap(hands[number]),
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
