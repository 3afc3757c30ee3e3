"""The arms of another body: its hands keep to what the driver's are near."""

from __future__ import annotations

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import arm, bent, segments
from mimo.body.rig import SIDES
from mimo.retargeting.feet import may_stretch
from mimo.retargeting.hands import mixed
from mimo.retargeting.hips import pulled
from mimo.retargeting.stretch import Stretch

ROUNDS = 2
"""How often the arms are moved, since each is near the other."""


def size_ratio(stretch: Stretch, actor: Figure) -> float:
    """Height of the other body over that of the driver."""
    return float(np.ptp(actor.body.rest_vertices[:, 2]) / np.ptp(stretch.driver.body.rest_vertices[:, 2]))


def with_hands(stretch: Stretch, actor: Figure, free: Poses) -> Poses:
    """Poses whose hands keep to what the driver's are near.

    Args:
        stretch: of the driver.
        actor: the other body.
        free: its poses with the arms' directions kept.
    """
    marks, places, scale = stretch.landmarks, actor.places(free), size_ratio(stretch, actor)
    limbs = [arm(actor, side) for side in SIDES]
    body = actor.skin(free, marks.body, places)
    hands = [actor.skin(free, hand, places) for hand in marks.hands]
    arms = [actor.skin(free, vertices, places) for vertices in marks.arms]
    to_ground = [_to_ground(stretch, actor, number, places, hands[number]) for number in range(len(SIDES))]
    together, moved, poses = stretch.left_on_right, [np.zeros((len(free), 3))] * len(SIDES), free
    for _ in range(ROUNDS):
        # Hands that should be nearer to each other, or farther apart, do half of it each.
        apart = together.gap(hands[0] + moved[0][:, None], hands[1] + moved[1][:, None], scale)
        wanted = []
        for number, (ground, near) in enumerate(
            zip(stretch.hands_on_ground, stretch.hands_on_body, strict=True)
        ):
            on_body = near.gap(hands[number], np.concatenate([body, arms[1 - number]], 1), scale)
            gaps = [to_ground[number], on_body, moved[number] + (0.5 - number) * apart]
            wanted.append(mixed([ground.share, near.share, together.share], gaps))
        poses = free
        for limb, by, ratio in zip(limbs, wanted, stretch.arms_stretched, strict=True):
            target = places[:, limb.end] + by
            poses = bent(poses, places, actor, limb, target, free=may_stretch(ratio))
        now = actor.places(poses)
        arms = [actor.skin(poses, vertices, now) for vertices in marks.arms]
        moved = [now[:, limb.end] - places[:, limb.end] for limb in limbs]
    return poses


def _to_ground(
    stretch: Stretch, actor: Figure, number: int, places: np.ndarray, hand: np.ndarray
) -> np.ndarray:
    """(T, 3) what brings a hand to the ground, nearer to the shoulder where the arm is too short."""
    limb, gap = (
        arm(actor, SIDES[number]),
        stretch.hands_on_ground[number].gap(hand, size_ratio(stretch, actor)),
    )
    shoulder, wrist = places[:, limb.root], places[:, limb.end]
    longest = may_stretch(stretch.arms_stretched[number]) * sum(segments(actor, limb))
    height = wrist[:, 2] + gap[:, 2] - shoulder[:, 2]
    across = np.sqrt(np.maximum(longest**2 - height**2, 0))
    return pulled(shoulder, wrist + gap, across) - wrist
